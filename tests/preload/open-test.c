/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library hears of every file that comes, and of what makes memory be written unseen, before the VMM can use it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <linux/openat2.h>
#include <linux/vhost.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/next.h"
#include "tests/preload/calls.h"

int pidfd_getfd(int pidfd, int fd, unsigned flags);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

#define PATH "/dev/null"

/** One file was told of, and nothing else; it is closed. */
static void expect_file(int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(errno, ERRNO_BEFORE);
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_FILE);
	assert_int_equal(records[0].detail, fd);
	assert_false(records[0].succeeded);
	records_count = 0;
	close(fd);
}

static void opening(void **state)
{
	struct open_how how = { .flags = O_RDONLY };

	(void)state;
	if (by_number) {
#ifdef SYS_open
		expect_file((int)syscall(SYS_open, PATH, (long)O_RDONLY, 0L));
#endif
		expect_file((int)syscall(SYS_openat, (long)AT_FDCWD, PATH, (long)O_RDONLY, 0L));
		expect_file((int)syscall(SYS_openat2, (long)AT_FDCWD, PATH, &how, sizeof(how)));
		assert_int_equal(syscall(SYS_openat, (long)AT_FDCWD, "/nowhere", (long)O_RDONLY, 0L), -1);
	} else {
		expect_file(open(PATH, O_RDONLY));
		expect_file(open64(PATH, O_RDONLY));
		expect_file(openat(AT_FDCWD, PATH, O_RDONLY));
		expect_file(openat64(AT_FDCWD, PATH, O_RDONLY));
		expect_file(__open_2(PATH, O_RDONLY));
		expect_file(__open64_2(PATH, O_RDONLY));
		expect_file(__openat_2(AT_FDCWD, PATH, O_RDONLY));
		expect_file(__openat64_2(AT_FDCWD, PATH, O_RDONLY));
		assert_int_equal(open("/nowhere", O_RDONLY), -1);
	}
	assert_int_equal(errno, ENOENT);
	expect_nothing();
}

/** The mode of a new file arrives. */
static void creating(void **state)
{
	char path[] = "pagefuse-open-test-XXXXXX";
	int fd;

	(void)state;
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unlink(path), 0);
	records_count = 0;
	errno = ERRNO_BEFORE;
	fd = by_number ? (int)syscall(SYS_openat, (long)AT_FDCWD, path, (long)(O_CREAT | O_EXCL | O_WRONLY), 0400L)
		       : open(path, O_CREAT | O_EXCL | O_WRONLY, 0400);
	expect_file(fd);
	assert_int_equal(access(path, R_OK), 0);
	assert_int_equal(unlink(path), 0);
}

/** The stream's file was told of; it is closed. */
static void expect_stream(FILE *stream)
{
	assert_non_null(stream);
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_FILE);
	assert_int_equal(records[0].detail, fileno(stream));
	records_count = 0;
	fclose(stream);
	errno = ERRNO_BEFORE;
}

static void streams(void **state)
{
	FILE *stream;

	(void)state;
	if (by_number)
		return;
	expect_stream(fopen(PATH, "re"));
	expect_stream(fopen64(PATH, "re"));
	expect_stream(tmpfile());
	expect_stream(tmpfile64());
	stream = fopen("/nowhere", "re");
	assert_null(stream);
	assert_int_equal(errno, ENOENT);
	stream = fopen(PATH, "re");
	records_count = 0;
	stream = freopen("/dev/zero", "re", stream);
	expect_stream(stream);
	stream = fopen(PATH, "re");
	records_count = 0;
	stream = freopen64("/dev/zero", "re", stream);
	expect_stream(stream);
	expect_nothing();
}

/** A new file, of which libc has made up the name. */
static void expect_named(int fd, const char *path)
{
	assert_int_equal(unlink(path), 0);
	expect_file(fd);
}

static void names_made_up(void **state)
{
#define PATTERN "pagefuse-open-test-XXXXXX"
	char path[8][sizeof(PATTERN "-x")];

	(void)state;
	if (by_number)
		return;
	for (unsigned i = 0; i < 8; i++)
		strcpy(path[i], i < 4 ? PATTERN : PATTERN "-x");
	expect_named(mkstemp(path[0]), path[0]);
	expect_named(mkstemp64(path[1]), path[1]);
	expect_named(mkostemp(path[2], O_CLOEXEC), path[2]);
	expect_named(mkostemp64(path[3], O_CLOEXEC), path[3]);
	expect_named(mkstemps(path[4], 2), path[4]);
	expect_named(mkstemps64(path[5], 2), path[5]);
	expect_named(mkostemps(path[6], 2, O_CLOEXEC), path[6]);
	expect_named(mkostemps64(path[7], 2, O_CLOEXEC), path[7]);
	strcpy(path[0], PATTERN);
	expect_named(creat(path[0], 0600), path[0]);
	expect_named(creat64(path[0], 0600), path[0]);
	expect_nothing();
}

/** From another process, or by a handle, if that is allowed here. */
static void from_elsewhere(void **state)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} named = { .handle = { .handle_bytes = MAX_HANDLE_SZ } };
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L), folder, mount, fd;

	(void)state;
	if (pidfd < 0)
		skip();
	errno = ERRNO_BEFORE;
	fd = by_number ? (int)syscall(SYS_pidfd_getfd, (long)pidfd, (long)STDERR_FILENO, 0L)
		       : pidfd_getfd(pidfd, STDERR_FILENO, 0);
	expect_file(fd);
	folder = open("/tmp", O_RDONLY | O_DIRECTORY);
	records_count = 0;
	if (name_to_handle_at(AT_FDCWD, "/tmp", &named.handle, &mount, 0) == 0) {
		errno = ERRNO_BEFORE;
		fd = by_number ? (int)syscall(SYS_open_by_handle_at, (long)folder, &named.handle, (long)O_RDONLY)
			       : open_by_handle_at(folder, &named.handle, O_RDONLY);
		if (fd >= 0)
			expect_file(fd);
	}
	expect_nothing();
	close(folder);
	close(pidfd);
}

static int control(int fd, int command, long argument)
{
	return by_number ? (int)syscall(SYS_fcntl, (long)fd, (long)command, argument) : fcntl(fd, command, argument);
}

static void switching_to_direct(void **state)
{
	int fd = dup(STDERR_FILENO);

	(void)state;
	control(fd, F_SETFL, control(fd, F_GETFL, 0) | O_DIRECT); /* whether the file takes it or not */
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_FILE);
	assert_int_equal(records[0].detail, fd);
	assert_true(records[0].succeeded);
	records_count = 0;
	control(fd, F_SETFL, control(fd, F_GETFL, 0) & ~O_DIRECT);
	control(fd, F_SETFD, FD_CLOEXEC);
	if (!by_number)
		assert_int_equal(fcntl64(fd, F_GETFD), FD_CLOEXEC);
	expect_nothing();
	close(fd);
}

/** Two descriptors, which are closed again. */
static void expect_received(int socket, struct msghdr *message, int flags)
{
	const struct cmsghdr *part;
	int fds[2] = { -1, -1 };
	ssize_t got = by_number ? syscall(SYS_recvmsg, (long)socket, message, (long)flags)
				: recvmsg(socket, message, flags);

	assert_int_equal(got, 1);
	assert_int_equal(records_count, 2);
	part = CMSG_FIRSTHDR(message);
	assert_non_null(part);
	if (part != NULL) /* as cmocka does not say that it does not come back */
		memcpy(fds, CMSG_DATA(part), sizeof(fds));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(records[i].kind, RECORDED_FILE);
		assert_int_equal(records[i].detail, fds[i]);
		close(fds[i]);
	}
}

static void receiving(void **state)
{
	char space[CMSG_SPACE(2 * sizeof(int))], byte = 'x';
	struct iovec vector = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);
	int sockets[2];
	const int fds[2] = { STDERR_FILENO, STDERR_FILENO };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(part), fds, sizeof(fds));
	assert_int_equal(sendmsg(sockets[0], &message, 0), 1);
	expect_nothing();
	expect_received(sockets[1], &message, MSG_PEEK);
	records_count = 0;
	expect_received(sockets[1], &message, 0);
	close(sockets[0]);
	close(sockets[1]);
}

/** Several messages at once, of which each has a descriptor. */
static void receiving_several(void **state)
{
	char spaces[2][CMSG_SPACE(sizeof(int))], bytes[2] = "xy";
	struct iovec vectors[2] = { { &bytes[0], 1 }, { &bytes[1], 1 } };
	struct mmsghdr messages[2] = { { .msg_len = 0 } };
	const int fd = STDERR_FILENO;
	int sockets[2];
	long got;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct msghdr *message = &messages[i].msg_hdr;
		struct cmsghdr *part;

		*message = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1, .msg_control = spaces[i] };
		message->msg_controllen = sizeof(spaces[i]);
		part = CMSG_FIRSTHDR(message);
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(part), &fd, sizeof(fd));
		assert_int_equal(sendmsg(sockets[0], message, 0), 1);
	}
	expect_nothing();
	got = by_number ? syscall(SYS_recvmmsg, (long)sockets[1], messages, 2L, 0L, NULL)
			: recvmmsg(sockets[1], messages, 2, 0, NULL);
	assert_int_equal(got, 2);
	assert_int_equal(records_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct cmsghdr *part = CMSG_FIRSTHDR(&messages[i].msg_hdr);
		int received = -1;

		assert_non_null(part);
		if (part != NULL)
			memcpy(&received, CMSG_DATA(part), sizeof(received));
		assert_int_equal(records[i].kind, RECORDED_FILE);
		assert_int_equal(records[i].detail, received);
		close(received);
	}
	close(sockets[0]);
	close(sockets[1]);
}

static void vhost_scsi(void **state)
{
	struct {
		char bytes[256];
	} target = { "" };
	int fd = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(by_number ? syscall(SYS_ioctl, (long)fd, VHOST_SCSI_SET_ENDPOINT, &target)
				   : ioctl(fd, VHOST_SCSI_SET_ENDPOINT, &target),
			 -1);
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_REFERENCES);
	close(fd);
}

static int set_option(int fd, int level, int option)
{
	return by_number ? (int)syscall(SYS_setsockopt, (long)fd, (long)level, (long)option, "tls", 3L)
			 : setsockopt(fd, level, option, "tls", 3);
}

static int take_any_option(int fd, int level, int option, const void *value, socklen_t length)
{
	(void)fd;
	(void)level;
	(void)option;
	(void)value;
	return length == 3 ? 0 : -1;
}

static long take_any_call(long number, ...)
{
	return number == SYS_setsockopt ? 0 : -1;
}

/** A socket is to decrypt. Not every kernel has that, so what is below takes it here. */
static void decrypting(void **state)
{
	struct next before = next;
	int fd = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(set_option(fd, IPPROTO_TCP, TCP_ULP), -1); /* no socket at all */
	expect_nothing();
	errno = ERRNO_BEFORE;
	next.setsockopt = take_any_option;
	next.syscall = take_any_call;
	assert_int_equal(set_option(fd, SOL_SOCKET, TCP_ULP), 0);
	assert_int_equal(set_option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	expect_nothing();
	assert_int_equal(set_option(fd, IPPROTO_TCP, TCP_ULP), 0);
	next = before;
	expect_file(fd);
}

static void expect_pins(void)
{
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_PINS);
	records_count = 0;
}

#ifndef IORING_SETUP_REGISTERED_FD_ONLY
#define IORING_SETUP_REGISTERED_FD_ONLY (1u << 15)
#endif

#ifdef HAVE_LIBURING
/** Files that come by a ring, or that only a ring has, and commands to drivers. */
static void expect_unknown_files(struct io_uring *ring)
{
	static const uint8_t opcodes[] = { IORING_OP_OPENAT, IORING_OP_OPENAT2, IORING_OP_RECVMSG, 46 /* URING_CMD */ };
	struct io_uring_sqe *request;

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		request = io_uring_get_sqe(ring);
		io_uring_prep_nop(request);
		request->opcode = opcodes[i];
		request->fd = -1;
		io_uring_submit(ring);
		expect_pins();
	}
	request = io_uring_get_sqe(ring);
	io_uring_prep_read(request, 0, ring, 0, 0);
	request->flags |= IOSQE_FIXED_FILE;
	io_uring_submit(ring);
	expect_pins();
	io_uring_prep_nop(io_uring_get_sqe(ring));
	io_uring_submit(ring);
	expect_nothing();
}
#endif

/** Rings without a descriptor, or that may come to have none, and fixed buffers. */
#ifdef HAVE_LIBURING
typedef int setup_function(unsigned entries, struct io_uring_params *parameters);
typedef int register_function(unsigned fd, unsigned what, const void *argument, unsigned count);

/* liburing's names for the system calls, which it has since 2.3. */
static void expect_named_calls(const struct iovec *vector)
{
	setup_function *setup = (setup_function *)dlsym(RTLD_DEFAULT, "io_uring_setup");
	register_function *do_register = (register_function *)dlsym(RTLD_DEFAULT, "io_uring_register");
	struct io_uring_params parameters = { .flags = IORING_SETUP_REGISTERED_FD_ONLY };

	assert_non_null(setup);
	assert_non_null(do_register);
	assert_true(setup(4, &parameters) < 0); /* without memory for it */
	expect_pins();
	assert_true(setup(4, (struct io_uring_params *)8) < 0);
	assert_true(do_register(UINT_MAX, IORING_REGISTER_FILES, vector, 1) < 0);
	expect_nothing();
	assert_true(do_register(UINT_MAX, IORING_REGISTER_BUFFERS, vector, 1) < 0);
	expect_pins();
	assert_true(do_register(UINT_MAX, 32, vector, 1) < 0); /* IORING_REGISTER_ZCRX_IFQ */
	expect_pins();
}
#endif

static void hidden_rings(void **state)
{
#ifdef HAVE_LIBURING
	struct io_uring_params parameters = { .flags = IORING_SETUP_REGISTERED_FD_ONLY };
	char buffer[64];
	struct iovec vector = { buffer, sizeof(buffer) };
	struct io_uring ring;

	(void)state;
	if (by_number) {
		syscall(SYS_io_uring_setup, 4L, &parameters); /* fails, without memory for it */
		expect_pins();
		syscall(SYS_io_uring_register, -1L, 20L, &parameters, 1L);
		expect_pins();
		syscall(SYS_io_uring_register, -1L, 0L, &vector, 1L);
		expect_pins();
		syscall(SYS_io_uring_register, -1L, 2L, &vector, 1L); /* files */
		assert_int_equal(syscall(SYS_io_uring_setup, 4L, 8L), -1);
		expect_nothing();
		return;
	}
	io_uring_queue_init_params(4, &ring, &parameters);
	expect_pins();
	parameters = (struct io_uring_params){ 0 };
	if (io_uring_queue_init_params(4, &ring, &parameters) < 0)
		skip();
	expect_nothing();
	expect_unknown_files(&ring);
	io_uring_register_ring_fd(&ring);
	expect_pins();
	io_uring_register_buffers(&ring, &vector, 1);
	expect_pins();
	io_uring_register_buffers_tags(&ring, &vector, NULL, 1);
	expect_pins();
	io_uring_register_buffers_update_tag(&ring, 0, &vector, NULL, 1);
	expect_pins();
	io_uring_queue_exit(&ring);
	expect_named_calls(&vector);
#else
	(void)state;
	(void)expect_pins;
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CALL_TEST(opening),
		CALL_TEST(creating),
		CALL_TEST(streams),
		CALL_TEST(names_made_up),
		CALL_TEST(from_elsewhere),
		CALL_TEST(switching_to_direct),
		CALL_TEST(receiving),
		CALL_TEST(receiving_several),
		CALL_TEST(vhost_scsi),
		CALL_TEST(decrypting),
		CALL_TEST(hidden_rings),
	};

	return calls_run(tests);
}
