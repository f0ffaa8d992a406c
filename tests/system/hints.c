/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What VMs read from their disks is shared, with no scan at all: two VMMs with the preload's calls, in mode `hints`,
 * read a file in all the ways that are seen, each into other pages. The pages come to be in the same frames, every byte
 * is the file's, and what was not read stays where it was, though it is equal, too. It is known what came from the
 * file; what came through a socket is not. How long it took is printed.
 */
#include <errno.h>
#include <fcntl.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"
#include "tests/system/fleet.h"

#define VMS 2u
#define FILE_PAGES 200u
#define FILE_BYTES (FILE_PAGES * PAGE_BYTES)
#define SHORT_PAGES (FILE_PAGES / 2) /* what there is of the file, from its middle on */
#define WRITTEN_PAGES 50u
#define OFFSET 1000u /* in the read that is not aligned */

int io_submit(aio_context_t context, long count, struct iocb **requests);

enum area {
	AREA_PREAD,
	AREA_PREADV,
	AREA_READ,
	AREA_RECEIVE,
	AREA_AIO,
	AREA_URING,
	AREA_SHORT,
	AREA_UNALIGNED,
	AREA_FAILED,
	AREA_WRITTEN, /* by the guest */
	AREAS
};
#define RAM_PAGES (AREAS * FILE_PAGES)

static struct instance instance;
static struct fleet fleet = { .count = VMS };
static int file; /* page i has content i + 1, or that and FILE_PAGES more in the second half of it */
/** The parent's, too. */
static struct shared {
	uint64_t frames[VMS][RAM_PAGES];
	uint64_t msec[VMS];
	unsigned late[VMS]; /* pages that were not shared after 300 ms */
} * shared;
static char *ram;

static char *at(enum area area, uint32_t page)
{
	return ram + (area * FILE_PAGES + page) * PAGE_BYTES;
}

static void make_file(void)
{
	char path[] = "pagefuse-hints-XXXXXX";
	_Alignas(8) char page[PAGE_BYTES];

	file = mkostemp(path, O_CLOEXEC);
	test_check(file >= 0 && unlink(path) == 0, "%s: %s", path, strerror(errno));
	for (uint32_t i = 0; i < 2 * FILE_PAGES; i++) {
		pages_fill(page, i + 1);
		test_check(pwrite(file, page, PAGE_BYTES, i * PAGE_BYTES) == (ssize_t)PAGE_BYTES, "pwrite");
	}
}

/* ---- in the VMMs ---- */

static void read_by_vector(off_t from)
{
	struct iovec vector[3] = {
		{ at(AREA_PREADV, 0), 10 * PAGE_BYTES },
		{ at(AREA_PREADV, 10), PAGE_BYTES / 2 },
		{ at(AREA_PREADV, 10) + PAGE_BYTES / 2, FILE_BYTES - 10 * PAGE_BYTES - PAGE_BYTES / 2 },
	};

	test_check(preadv(file, vector, 3, from) == FILE_BYTES, "preadv: %s", strerror(errno));
}

static void receive(off_t from)
{
	char page[PAGE_BYTES];
	int sockets[2];

	test_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair: %s",
		   strerror(errno));
	for (uint32_t i = 0; i < FILE_PAGES; i++) {
		test_check(pread(file, page, PAGE_BYTES, from + (off_t)(i * PAGE_BYTES)) == (ssize_t)PAGE_BYTES &&
				   send(sockets[1], page, PAGE_BYTES, 0) == (ssize_t)PAGE_BYTES &&
				   recv(sockets[0], at(AREA_RECEIVE, i), PAGE_BYTES, MSG_WAITALL) ==
					   (ssize_t)PAGE_BYTES,
			   "sending and receiving a page: %s", strerror(errno));
	}
	close(sockets[0]);
	close(sockets[1]);
}

static void read_by_aio(off_t from)
{
	struct iocb request = { .aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_fildes = (uint32_t)file,
				.aio_buf = (uintptr_t)at(AREA_AIO, 0),
				.aio_nbytes = FILE_BYTES,
				.aio_offset = from };
	struct iocb *requests[] = { &request };
	aio_context_t context = 0;
	struct io_event event;

	test_check(syscall(SYS_io_setup, 4L, &context) == 0, "io_setup: %s", strerror(errno));
	test_check(io_submit(context, 1, requests) == 1, "io_submit: %s", strerror(errno));
	test_check(syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL) == 1 && event.res == (long)FILE_BYTES,
		   "a read by io_submit: %lld", (long long)event.res);
	syscall(SYS_io_destroy, context);
}

static void read_by_uring(off_t from)
{
#ifdef HAVE_LIBURING
	struct io_uring_cqe *done;
	struct io_uring ring;

	if (io_uring_queue_init(4, &ring, 0) == 0) {
		io_uring_prep_read(io_uring_get_sqe(&ring), file, at(AREA_URING, 0), FILE_BYTES, (uint64_t)from);
		test_check(io_uring_submit(&ring) == 1, "io_uring_submit: %s", strerror(errno));
		test_check(io_uring_wait_cqe(&ring, &done) == 0 && done->res == (int)FILE_BYTES,
			   "a read by io_uring");
		io_uring_cqe_seen(&ring, done);
		io_uring_queue_exit(&ring);
		return;
	}
#endif
	test_check(pread(file, at(AREA_URING, 0), FILE_BYTES, from) == FILE_BYTES, "pread: %s", strerror(errno));
}

/** What is in memory is the file's from @from on; the guest sees it right after the reads. */
static void check_read(off_t from)
{
	uint64_t first = (uint64_t)from / PAGE_BYTES + 1;
	_Alignas(8) char page[PAGE_BYTES];

	for (enum area area = AREA_PREAD; area <= AREA_URING; area++)
		for (uint32_t i = 0; i < FILE_PAGES; i++)
			if (pages_differ(at(area, i), first + i) >= 0)
				test_damage("page %u of read %d is not the file's", i, area);
	for (uint32_t i = 0; i < FILE_PAGES; i++) {
		uint64_t before = i < SHORT_PAGES ? FILE_PAGES + SHORT_PAGES + i + 1 : 0;

		if (pages_differ(at(AREA_SHORT, i), before) >= 0)
			test_damage("page %u of a short read is wrong", i);
		if (pages_differ(at(AREA_FAILED, i), 0) >= 0)
			test_damage("page %u of a read that failed is wrong", i);
		if (i >= WRITTEN_PAGES)
			continue;
		if (pages_differ(at(AREA_WRITTEN, i), i + 1) >= 0)
			test_damage("page %u that the guest wrote is wrong", i);
	}
	for (uint32_t i = 0; i + 1 < FILE_PAGES; i++) {
		test_check(pread(file, page, PAGE_BYTES, from + (off_t)(i * PAGE_BYTES)) == (ssize_t)PAGE_BYTES,
			   "pread: %s", strerror(errno));
		if (memcmp(at(AREA_UNALIGNED, i) + OFFSET, page, PAGE_BYTES) != 0)
			test_damage("page %u of a read that is not aligned is wrong", i);
	}
}

static void read_all(off_t from)
{
	off_t end = (off_t)(2 * FILE_BYTES);

	test_check(pread(file, at(AREA_PREAD, 0), FILE_BYTES, from) == FILE_BYTES, "pread: %s", strerror(errno));
	read_by_vector(from);
	test_check(lseek(file, from, SEEK_SET) == from && read(file, at(AREA_READ, 0), FILE_BYTES) == FILE_BYTES,
		   "read: %s", strerror(errno));
	receive(from);
	read_by_aio(from);
	read_by_uring(from);
	test_check(pread(file, at(AREA_SHORT, 0), FILE_BYTES, end - (off_t)(SHORT_PAGES * PAGE_BYTES)) ==
			   (ssize_t)(SHORT_PAGES * PAGE_BYTES),
		   "a read that ends at the file's end: %s", strerror(errno));
	test_check(pread(file, at(AREA_UNALIGNED, 0) + OFFSET, FILE_BYTES - PAGE_BYTES, from) ==
			   FILE_BYTES - PAGE_BYTES,
		   "pread: %s", strerror(errno));
	test_check(pread(-1, at(AREA_FAILED, 0), FILE_BYTES, 0) == -1 && errno == EBADF, "pread of no file");
	check_read(from);
}

static bool is_read(enum area area, uint32_t page)
{
	return area <= AREA_URING || (area == AREA_SHORT && page < SHORT_PAGES) || area == AREA_UNALIGNED;
}

/** Also of one that has not been touched since it was merged. */
static bool is_shared(const char *page)
{
	(void)*(const volatile char *)page;
	return pages_is_file(page);
}

/** Looks again and again at those that are not, until all are. @return how many were not by @msec after @began. */
static unsigned wait_for_pages(uint64_t began, uint64_t msec)
{
	static bool done[RAM_PAGES];
	unsigned left = 0, late = 0, before = 0;

	memset(done, 0, sizeof(done));
	do {
		uint64_t now;

		poll(NULL, 0, 1);
		left = 0;
		for (uint32_t i = 0; i < RAM_PAGES; i++) {
			if (!done[i] && is_read(i / FILE_PAGES, i % FILE_PAGES))
				done[i] = is_shared(ram + i * PAGE_BYTES);
			left += !done[i] && is_read(i / FILE_PAGES, i % FILE_PAGES);
		}
		now = test_now_msec();
		late = late == 0 && now - began >= msec ? before : late;
		before = left;
		test_check(left == 0 || now - began < TEST_DEADLINE_SECONDS * 1000, "%u pages are not shared", left);
	} while (left > 0);
	return late;
}

static void await_shared(unsigned which)
{
	uint64_t began = test_now_msec();

	shared->late[which] = wait_for_pages(began, 300);
	shared->msec[which] = test_now_msec() - began;
	for (uint32_t i = 0; i < RAM_PAGES; i++)
		if (!is_read(i / FILE_PAGES, i % FILE_PAGES) && is_shared(ram + i * PAGE_BYTES))
			test_fail("page %u of area %u is shared, and was not read", i % FILE_PAGES, i / FILE_PAGES);
}

static void note_frames(unsigned which)
{
	for (uint32_t i = 0; i < RAM_PAGES; i++) {
		(void)*(volatile char *)(ram + i * PAGE_BYTES);
		shared->frames[which][i] = pages_frame(ram + i * PAGE_BYTES);
	}
}

static void begin(const struct fleet_vm *vm)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	file = open(path, O_RDONLY | O_CLOEXEC); /* with a position of its own */
	test_check(file >= 0, "%s: %s", path, strerror(errno));
	setenv("PAGEFUSE_SOCKET", instance.socket, 1);
	setenv("PAGEFUSE_NAME", vm->name, 1);
	setenv("PAGEFUSE_MODE", "hints", 1);
	ram = pages_map(RAM_PAGES, false);
	for (uint32_t i = 0; i < WRITTEN_PAGES; i++)
		pages_fill(at(AREA_WRITTEN, i), i + 1);
	test_check(madvise(ram, RAM_PAGES * PAGE_BYTES, MADV_MERGEABLE) == 0, "madvise: %s", strerror(errno));
}

static void run(const struct fleet_vm *vm, unsigned which)
{
	char order;

	begin(vm);
	while (syscall(SYS_read, (long)vm->orders, &order, 1L) == 1) {
		off_t from = order == 'R' ? (off_t)FILE_BYTES : 0;

		switch (order) {
		case 'r':
		case 'R':
			read_all(from);
			break;
		case 's':
			await_shared(which);
			note_frames(which);
			break;
		case 'c':
			check_read(0);
			break;
		default:
			check_read((off_t)FILE_BYTES);
		}
		if (write(vm->answers, &order, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

/* ---- the test ---- */

static void expect_same_frames(void)
{
	for (enum area area = 0; area < AREAS; area++) {
		for (uint32_t i = 0; i < FILE_PAGES; i++) {
			uint32_t page = area * FILE_PAGES + i;
			bool same = shared->frames[0][page] == shared->frames[1][page];

			if (is_read(area, i))
				test_check(same, "page %u of read %d is in two frames", i, area);
			if (area == AREA_WRITTEN && i < WRITTEN_PAGES)
				test_check(!same, "page %u, that nobody has read, is shared", i);
		}
	}
}

static void read_and_check(char read, char check)
{
	fleet_tell_all(&fleet, read);
	fleet_tell_all(&fleet, 's');
	fleet_tell_all(&fleet, check);
	expect_same_frames();
	for (unsigned i = 0; i < VMS; i++)
		fprintf(stderr, "%s: all shared %llu ms after the last read; after 300 ms all but %u\n",
			fleet.vms[i].name, (unsigned long long)shared->msec[i], shared->late[i]);
}

static void expect_counted(const char *name)
{
	long long pages = 7 * FILE_PAGES + SHORT_PAGES;

	test_check(instance_vm(&instance, name, "hinted_shared_pages") >= pages, "%s: hinted_shared_pages is %lld",
		   name, instance_vm(&instance, name, "hinted_shared_pages"));
	test_check(instance_vm(&instance, name, "hinted_pages") >= pages, "%s: hinted_pages is %lld", name,
		   instance_vm(&instance, name, "hinted_pages"));
}

static long long number(const json_t *object, const char *field)
{
	return (long long)json_integer_value(json_object_get(object, field));
}

/** @return whether by now the daemon knows what was read from the file, which is the only one. */
static bool knows_file(void)
{
	const long long pages = VMS * (6 * FILE_PAGES + SHORT_PAGES);
	json_t *reply = instance_ask(&instance, "{\"command\":\"modules\"}");
	const json_t *module = json_array_get(json_object_get(reply, "modules"), 0);
	const char *label = json_string_value(json_object_get(module, "label"));
	bool all = number(module, "pages") == pages && number(module, "shared_pages") == pages;

	test_check(number(reply, "modules_count") <= 1, "there are %lld files", number(reply, "modules_count"));
	test_check(!all || (strstr(label, "/pagefuse-hints-") != NULL && strstr(label, " (deleted)") != NULL &&
			    number(module, "vms") == VMS),
		   "%lld pages are told to have been read from %s in %lld VMs", pages, label, number(module, "vms"));
	json_decref(reply);
	return all;
}

static void expect_file_known(void)
{
	uint64_t last = test_now_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (!knows_file()) {
		test_check(test_now_msec() < last, "it is not known what was read from the file");
		poll(NULL, 0, 10);
	}
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_needs_moves();
	make_file();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(shared != MAP_FAILED, "mmap: %s", strerror(errno));
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 0\n");
	instance_start(&instance);
	fleet.run = run;
	for (unsigned i = 0; i < VMS; i++)
		fleet_start(&fleet, i);
	for (unsigned i = 0; i < VMS; i++)
		instance_await(&instance, fleet.vms[i].name, "ram_bytes", RAM_PAGES * PAGE_BYTES);
	read_and_check('r', 'c');
	expect_file_known();
	test_restart_clock();
	read_and_check('R', 'C'); /* into pages that are shared */
	expect_file_known();
	for (unsigned i = 0; i < VMS; i++)
		expect_counted(fleet.vms[i].name);
	for (unsigned i = 0; i < VMS; i++)
		fleet_kill(&fleet, i);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
