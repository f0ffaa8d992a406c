/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads into RAM and writes out of it, by descriptor. All files that are read have the same bytes, those of
 * storm->content; so whole pages come to be equal to others', as those of a guest's page cache do.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "library/sys.h"
#include "tests/safety/storm-paths.h"
#include "tests/safety/storm.h"
#include "tests/support/fuse.h"
#include "tests/support/test.h"

#define NUMBERS 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool own[NUMBERS];

/* ---- which descriptors are the VMM's ---- */

void storm_files_lock(void)
{
	pthread_mutex_lock(&lock);
}

void storm_files_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void storm_own(int fd)
{
	if (fd >= 0 && fd < NUMBERS)
		own[fd] = true;
	else
		test_fail("descriptor %d: %s", fd, strerror(errno));
}

bool storm_is_own(int fd)
{
	return fd < 3 || own[fd];
}

int storm_open(const char *path, int flags)
{
	int fd;

	storm_files_lock();
	fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0)
		storm_own(fd);
	storm_files_unlock();
	return fd;
}

static void close_own(int fd)
{
	storm_files_lock();
	own[fd] = false;
	if (close(fd) != 0)
		test_damage("descriptor %d was closed by somebody else: %s", fd, strerror(errno));
	storm_files_unlock();
}

/** By fopen(), of which libc makes what it likes. */
static FILE *open_stream(const char *path)
{
	FILE *stream;

	storm_files_lock();
	stream = fopen(path, "re");
	test_check(stream != NULL, "%s: %s", path, strerror(errno));
	storm_own(fileno(stream));
	storm_files_unlock();
	setvbuf(stream, NULL, _IONBF, 0);
	return stream;
}

static void close_stream(FILE *stream)
{
	storm_files_lock();
	own[fileno(stream)] = false;
	if (fclose(stream) != 0)
		test_damage("a stream was closed by somebody else: %s", strerror(errno));
	storm_files_unlock();
}

static int open_of_director(int fd, int flags)
{
	char path[64];
	int opened;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", storm->director, fd);
	opened = storm_open(path, flags);
	test_check(opened >= 0, "%s: %s", path, strerror(errno));
	return opened;
}

void storm_files_begin(struct storm_thread *t)
{
	t->overlay = t->fuse_cached = t->fuse_uncached = t->fuse_direct = t->direct = t->scratch = -1;
	t->image = open_of_director(storm->image, O_RDONLY);
	storm_files_lock();
	test_check(pipe2(t->pipe, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t->pair) == 0,
		   "a pipe, a pair of sockets: %s", strerror(errno));
	t->memory_file = memfd_create("pagefuse-test", MFD_CLOEXEC);
	for (unsigned i = 0; i < 2; i++) {
		storm_own(t->pipe[i]);
		storm_own(t->pair[i]);
	}
	storm_own(t->memory_file);
	storm_files_unlock();
	t->plain = pages_map(STORM_GROUP, false);
}

/* ---- reads ---- */

/**
 * Where in the image: often a whole page, and now and then up to its end and beyond. Not so with direct I/O, where the
 * kernel is free to fill what is beyond.
 */
static off_t choose_place(struct storm_thread *t, size_t unit, size_t length)
{
	size_t places = STORM_IMAGE_BYTES - (unit > 1 ? length : unit);

	if (unit < PAGE_BYTES && test_random(&t->random) % 4)
		unit = PAGE_BYTES;
	return (off_t)(test_random(&t->random) % (places / unit + 1) * unit);
}

void storm_read(struct storm_thread *t, enum storm_kind kind, size_t unit,
		ssize_t (*read)(struct storm_thread *t, struct storm_range range, off_t at))
{
	struct storm_range range = storm_choose(t, unit);
	off_t at = choose_place(t, unit, range.length);
	size_t left = STORM_IMAGE_BYTES - (size_t)at, expected = range.length < left ? range.length : left;
	ssize_t got;

	storm_check(t, range.from, range.length, "before a read");
	got = read(t, range, at);
	if (got != (ssize_t)expected)
		test_damage("VMM %u (flags %x): a read (%s) of %zu bytes at %lld gave %zd (%s), not %zu",
			    storm_life->number, storm_life->flags, storm_names[kind], range.length, (long long)at, got,
			    got < 0 ? strerror((int)-got) : "no error", expected);
	storm_wrote(t, kind, range.from, storm->content + at, expected);
	storm_check(t, range.from, range.length, "after a read");
}

static ssize_t result(ssize_t r)
{
	return r < 0 ? -errno : r;
}

static ssize_t pread_from(int fd, struct storm_range range, off_t at)
{
	return result(pread(fd, storm_at(range.from), range.length, at));
}

static ssize_t by_pread(struct storm_thread *t, struct storm_range range, off_t at)
{
	return pread_from(t->image, range, at);
}

/** In three pieces. */
static ssize_t by_preadv(struct storm_thread *t, struct storm_range range, off_t at)
{
	size_t first = test_random(&t->random) % (range.length + 1);
	size_t second = test_random(&t->random) % (range.length - first + 1);
	struct iovec pieces[] = { { storm_at(range.from), first },
				  { storm_at(range.from + first), second },
				  { storm_at(range.from + first + second), range.length - first - second } };

	return result(preadv(t->image, pieces, 3, at));
}

static ssize_t by_pipe(struct storm_thread *t, struct storm_range range, off_t at)
{
	size_t left = STORM_IMAGE_BYTES - (size_t)at, length = range.length < left ? range.length : left;

	test_check(write(t->pipe[1], storm->content + at, length) == (ssize_t)length, "write to a pipe: %s",
		   strerror(errno));
	return result(read(t->pipe[0], storm_at(range.from), range.length));
}

static ssize_t by_socket(struct storm_thread *t, struct storm_range range, off_t at)
{
	size_t left = STORM_IMAGE_BYTES - (size_t)at, length = range.length < left ? range.length : left;

	test_check(send(t->pair[1], storm->content + at, length, 0) == (ssize_t)length, "send: %s", strerror(errno));
	return result(recv(t->pair[0], storm_at(range.from), length, MSG_WAITALL));
}

/** Half of them by libc itself, unseen. */
static ssize_t read_stream(struct storm_thread *t, const char *path, struct storm_range range, off_t at)
{
	FILE *stream = open_stream(path);
	ssize_t got;

	if (test_random(&t->random) % 2)
		got = result(pread(fileno(stream), storm_at(range.from), range.length, at));
	else if (fseeko(stream, at, SEEK_SET) < 0)
		got = -errno;
	else
		got = (ssize_t)fread(storm_at(range.from), 1, range.length, stream);
	close_stream(stream);
	return got;
}

static ssize_t by_stream(struct storm_thread *t, struct storm_range range, off_t at)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", storm->director, storm->image);
	return read_stream(t, path, range, at);
}

static ssize_t by_fuse_stream(struct storm_thread *t, struct storm_range range, off_t at)
{
	return read_stream(t, STORM_FUSE_FOLDER "/" FUSE_UNCACHED, range, at);
}

/** @fd comes once more, by a message. */
static int receive_again(const struct storm_thread *t, int fd)
{
	char byte = 'x', space[CMSG_SPACE(sizeof(fd))] = "";
	struct iovec vector = { &byte, 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = space } };
	struct cmsghdr *part;
	int received = -1;

	message.msg_hdr.msg_controllen = sizeof(space);
	part = CMSG_FIRSTHDR(&message.msg_hdr);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(part), &fd, sizeof(fd));
	storm_files_lock();
	test_check(sendmsg(t->pair[1], &message.msg_hdr, 0) == 1, "sendmsg: %s", strerror(errno));
	test_check(recvmmsg(t->pair[0], &message, 1, MSG_CMSG_CLOEXEC, NULL) == 1, "recvmmsg: %s", strerror(errno));
	part = CMSG_FIRSTHDR(&message.msg_hdr);
	if (part != NULL)
		memcpy(&received, CMSG_DATA(part), sizeof(received));
	storm_own(received);
	storm_files_unlock();
	return received;
}

static ssize_t by_received(struct storm_thread *t, struct storm_range range, off_t at)
{
	int fd = receive_again(t, t->image);
	ssize_t got = pread_from(fd, range, at);

	close_own(fd);
	return got;
}

/** Opens it at the first use, so that the library hears of it in the middle of everything. Some are opened anew. */
static int opened(struct storm_thread *t, int *fd, const char *path, int flags)
{
	if (*fd >= 0 && test_random(&t->random) % 32 == 0) {
		close_own(*fd);
		*fd = -1;
	}
	if (*fd < 0)
		*fd = storm_open(path, flags);
	test_check(*fd >= 0, "%s: %s", path, strerror(errno));
	return *fd;
}

static ssize_t by_overlay(struct storm_thread *t, struct storm_range range, off_t at)
{
	return pread_from(opened(t, &t->overlay, STORM_OVERLAY_PATH, O_RDONLY), range, at);
}

static ssize_t by_fuse_cached(struct storm_thread *t, struct storm_range range, off_t at)
{
	return pread_from(opened(t, &t->fuse_cached, STORM_FUSE_FOLDER "/" FUSE_CACHED, O_RDONLY), range, at);
}

static ssize_t by_fuse_uncached(struct storm_thread *t, struct storm_range range, off_t at)
{
	return pread_from(opened(t, &t->fuse_uncached, STORM_FUSE_FOLDER "/" FUSE_UNCACHED, O_RDONLY), range, at);
}

static ssize_t by_fuse_direct(struct storm_thread *t, struct storm_range range, off_t at)
{
	return pread_from(opened(t, &t->fuse_direct, STORM_FUSE_FOLDER "/" FUSE_CACHED, O_RDONLY | O_DIRECT), range,
			  at);
}

/** Half of them past libc, where nothing makes the memory plain before: what pins is all that tells of these. */
static ssize_t by_direct(struct storm_thread *t, struct storm_range range, off_t at)
{
	if (test_random(&t->random) % 2 == 0)
		return sys_raw(SYS_pread64, t->direct, (long)storm_at(range.from), (long)range.length, at, 0, 0);
	return pread_from(t->direct, range, at);
}

/* ---- writes out of RAM ---- */

static void expect_out(const struct storm_thread *t, struct storm_range range, ssize_t got, const char *how)
{
	if (got != (ssize_t)range.length)
		test_damage("VMM %u: a %s of %zu bytes gave %zd: %s", storm_life->number, how, range.length, got,
			    strerror(errno));
	if (memcmp(t->plain, storm_expected(range.from), range.length) != 0)
		test_damage("VMM %u (flags %x), thread %u: a %s from byte %zu on has written other bytes than RAM has",
			    storm_life->number, storm_life->flags, t->which, how, range.from);
}

static void write_out(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, 8);

	test_check(pwrite(t->memory_file, storm_at(range.from), range.length, 0) == (ssize_t)range.length, "pwrite: %s",
		   strerror(errno));
	expect_out(t, range, pread(t->memory_file, t->plain, range.length, 0), "write");
}

/** Each thread of each VMM has a place of its own in the file. */
static void write_direct(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, storm->direct_bytes);
	size_t place = ((size_t)(storm_life - storm->lives) * STORM_THREADS + t->which) * STORM_GROUP_BYTES;

	test_check(pwrite(t->scratch, storm_at(range.from), range.length, (off_t)place) == (ssize_t)range.length,
		   "pwrite with O_DIRECT: %s", strerror(errno));
	expect_out(t, range, pread(t->scratch, t->plain, range.length, (off_t)place), "write with O_DIRECT");
}

/* ---- calls that fail ---- */

/** The same call with memory that nobody shares: RAM has to give the same result and the same bytes. */
static void compare_calls(struct storm_thread *t, int fd, struct storm_range range, off_t at, const char *what)
{
	ssize_t plain, ram;

	storm_check(t, range.from, range.length, "before a read that fails");
	memcpy(t->plain, storm_expected(range.from), range.length);
	plain = result(pread(fd, t->plain, range.length, at));
	ram = result(pread(fd, storm_at(range.from), range.length, at));
	if (plain != ram)
		test_damage("VMM %u: a read %s gave %zd, and with other memory %zd", storm_life->number, what, ram,
			    plain);
	storm_wrote(t, STORM_ERRORS, range.from, t->plain, range.length);
	storm_check(t, range.from, range.length, "after a read that failed");
}

/** The second piece leads nowhere. */
static void fault_in_the_middle(struct storm_thread *t, struct storm_range range)
{
	struct iovec pieces[] = { { t->plain, range.length }, { (void *)PAGE_BYTES, PAGE_BYTES } };
	ssize_t plain, ram;

	storm_check(t, range.from, range.length, "before a read that fails");
	memcpy(t->plain, storm_expected(range.from), range.length);
	plain = result(preadv(t->image, pieces, 2, 0));
	pieces[0].iov_base = storm_at(range.from);
	ram = result(preadv(t->image, pieces, 2, 0));
	if (plain != ram)
		test_damage("VMM %u: a read to nowhere gave %zd, and with other memory %zd", storm_life->number, ram,
			    plain);
	storm_wrote(t, STORM_ERRORS, range.from, t->plain, range.length);
	storm_check(t, range.from, range.length, "after a read that failed");
}

static void errors(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, 8);

	switch (test_random(&t->random) % 5) {
	case 0:
		compare_calls(t, -1, range, 0, "from no file");
		break;
	case 1:
		compare_calls(t, t->image, range, STORM_IMAGE_BYTES - 100, "beyond the end");
		break;
	case 2:
		compare_calls(t, t->pipe[1], range, 0, "from a pipe's other end");
		break;
	case 3:
		fault_in_the_middle(t, range);
		break;
	default:
		if (t->direct >= 0)
			compare_calls(t, t->direct, range, 3, "with O_DIRECT of what is not aligned");
	}
}

/* ---- closing ---- */

/** What is not the VMM's is not open for it. */
static void close_seen(void)
{
	storm_files_lock();
	for (int fd = 3; fd < 64; fd++) {
		errno = 0;
		if (!storm_is_own(fd) && (close(fd) == 0 || errno != EBADF))
			test_damage("VMM %u: a descriptor that is not its own, %d, could be closed", storm_life->number,
				    fd);
	}
	storm_files_unlock();
}

static void step_direct(struct storm_thread *t, enum storm_kind kind)
{
	if (t->direct < 0)
		t->direct = open_of_director(storm->image, O_RDONLY | O_DIRECT);
	if (t->scratch < 0)
		t->scratch = open_of_director(storm->scratch, O_RDWR | O_DIRECT);
	if (kind == STORM_DIRECT_OUT)
		write_direct(t);
	else if (kind == STORM_DIRECT)
		storm_read(t, kind, storm->direct_bytes, by_direct);
	else
		storm_ring_step(t, kind);
}

void storm_file_step(struct storm_thread *t, enum storm_kind kind)
{
	switch (kind) {
	case STORM_PREAD:
		storm_read(t, kind, 1, by_pread);
		break;
	case STORM_PREADV:
		storm_read(t, kind, 1, by_preadv);
		break;
	case STORM_PIPE:
		storm_read(t, kind, 1, by_pipe);
		break;
	case STORM_SOCKET:
		storm_read(t, kind, 1, by_socket);
		break;
	case STORM_STREAM:
		storm_read(t, kind, 1, by_stream);
		break;
	case STORM_RECEIVED:
		storm_read(t, kind, 1, by_received);
		break;
	case STORM_FUSE_STREAM:
		storm_read(t, kind, 1, by_fuse_stream);
		break;
	case STORM_OVERLAY:
		storm_read(t, kind, 1, by_overlay);
		break;
	case STORM_FUSE_CACHED:
		storm_read(t, kind, 1, by_fuse_cached);
		break;
	case STORM_FUSE_UNCACHED:
		storm_read(t, kind, 1, by_fuse_uncached);
		break;
	case STORM_FUSE_DIRECT:
		storm_read(t, kind, storm->direct_bytes, by_fuse_direct);
		break;
	case STORM_WRITE_OUT:
		write_out(t);
		break;
	case STORM_ERRORS:
		errors(t);
		break;
	case STORM_CLOSE_SEEN:
		close_seen();
		break;
	default:
		step_direct(t, kind);
	}
}
