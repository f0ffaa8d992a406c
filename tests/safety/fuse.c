/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A read is under way from a file whose server answers late, into a page that was shared, and written since: its memory
 * is pinned inside a mapping of the store, and it holds what a slot holds. A merge of just this page is ordered, or
 * another read covers it and fails. What is read must arrive.
 *
 * --plain         a file that does direct I/O though it was not opened with O_DIRECT
 * --closed        O_DIRECT, and closed with the read under way
 * --own-table     O_DIRECT, in a descriptor table that only the reading thread has
 * --hidden        plain, read by an io_uring without a descriptor
 * --unseen        plain, and it has come unseen and is closed with the read under way, of which the library hears
 * --told          the library has heard of the read before, as the preload hands it on
 * --half          the same, and it covers a half of the page only
 */
#include <errno.h>
#include <fcntl.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "tests/support/fuse.h"
#include "tests/support/guest.h"

#define PAGES 16u
#define TARGET 5u
#define MOUNTED "/mnt" /* in a mount namespace of this process's own */
#define FILE_BYTES (1u << 20)

static bool uncached;               /* FOPEN_DIRECT_IO */
static int asked[2], answer_now[2]; /* the server has a read to answer; it may */

/* ---- the server ---- */

/** In a child, as the server has other things to answer until then. */
static void answer_read(const struct fuse_read *asked_for)
{
	char page[PAGE_BYTES], byte = 'r';

	if (fork() != 0)
		return;
	memset(page, 'Z', sizeof(page));
	if (write(asked[1], &byte, 1) == 1 && read(answer_now[0], &byte, 1) == 1)
		fuse_reply(asked_for, page, asked_for->length < sizeof(page) ? asked_for->length : sizeof(page));
	_exit(0);
}

/** So that nobody waits any more once the test has ended. */
static void close_other_ends(void)
{
	close(asked[0]);
	close(answer_now[1]);
}

static void begin_file_system(void)
{
	static const struct fuse_plan plan = {
		.folder = MOUNTED,
		.file_bytes = FILE_BYTES,
		.servers = 1,
		.begin = close_other_ends,
		.read = answer_read,
	};
	int r;

	if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		test_skip("no mounts of one's own to be had: %s", strerror(errno));
	test_check(pipe2(asked, O_CLOEXEC) == 0 && pipe2(answer_now, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	r = fuse_begin(&plan);
	if (r < 0)
		test_skip("no file system of one's own to be had: %s", strerror(-r));
}

/* ---- the reader ---- */

static char *target;
static int file = -1;
static bool own_table, hidden, told, unseen;
static size_t wanted = PAGE_BYTES;
static ssize_t got;

static int open_file(void)
{
	int fd = uncached ? open(MOUNTED "/" FUSE_UNCACHED, O_RDONLY | O_CLOEXEC)
			  : open(MOUNTED "/" FUSE_CACHED, O_RDONLY | O_CLOEXEC | O_DIRECT);

	test_check(fd >= 0, "open: %s", strerror(errno));
	if (!own_table && !unseen)
		memory_note_file(fd, false); /* as the preload does */
	return fd;
}

#ifdef HAVE_LIBURING
static ssize_t read_by_ring(void)
{
	struct io_uring ring;
	struct io_uring_cqe *done;
	ssize_t result;

	if (io_uring_queue_init(4, &ring, 0) < 0 || io_uring_register_ring_fd(&ring) != 1)
		return -1;
	memory_note_pins(); /* as the preload does */
	close(ring.ring_fd);
	io_uring_prep_read(io_uring_get_sqe(&ring), file, target, (unsigned)wanted, 0);
	if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_wait_cqe(&ring, &done) < 0)
		return -1;
	result = done->res;
	return result;
}
#else
static ssize_t read_by_ring(void)
{
	test_skip("built without liburing");
}
#endif

static void *read_it(void *unused)
{
	if (own_table) {
		test_check(unshare(CLONE_FILES) == 0, "unshare: %s", strerror(errno));
		file = open_file();
	}
	if (told)
		memory_before_read(target, wanted);
	if (unseen)
		memory_before_read_from(file, target, wanted);
	got = hidden ? read_by_ring() : pread(file, target, wanted, 0);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t reader;
	uint32_t slot;
	_Alignas(8) char expected[PAGE_BYTES];
	struct guest g;
	char byte;

	test_begin(argc, argv);
	hidden = test_wants("--hidden");
	unseen = test_wants("--unseen");
	uncached = test_wants("--plain") || hidden || unseen;
	own_table = test_wants("--own-table");
	told = test_wants("--told") || test_wants("--half");
	wanted = test_wants("--half") ? PAGE_BYTES / 2 : PAGE_BYTES;
	begin_file_system();
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), i + 1);
	slot = director_take_slots(g.director, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(director_slot(g.director, slot + i), i + 1);
	test_check(director_merge(g.vm, g.page, PAGES, slot) == PAGES, "nothing is shared");
	target = guest_at(&g, TARGET);
	memset(target, 'w', PAGE_BYTES);
	director_audit(g.vm, g.page, PAGES);
	slot = director_take_slots(g.director, 1);
	pages_fill(director_slot(g.director, slot), TARGET);
	pages_fill(target, TARGET); /* a copy of its own, equal to a slot again */
	if (!own_table)
		file = open_file();
	test_check(pthread_create(&reader, NULL, read_it, NULL) == 0, "no thread");
	test_check(read(asked[0], &byte, 1) == 1, "the server has gone");
	if (test_wants("--closed") || unseen)
		syscall(SYS_close, file); /* not close(), in which sanitizers see a fault */
	if (told) {
		memory_before_read(target, PAGE_BYTES);
		test_check(pread(-1, target, PAGE_BYTES, 0) < 0, "a read of no file");
		director_audit(g.vm, g.page, PAGES);
	}
	director_merge(g.vm, g.page + TARGET, 1, slot);
	test_check(write(answer_now[1], &byte, 1) == 1, "the server has gone");
	pthread_join(reader, NULL);
	test_check(got == (ssize_t)wanted, "the read gave %zd", got);
	pages_fill(expected, TARGET);
	memset(expected, 'Z', wanted);
	for (size_t i = 0; i < PAGE_BYTES; i++)
		if (target[i] != expected[i])
			test_damage("byte %zu is not what was read", i);
	guest_report(&g);
	pagefuse_discard(g.memory, PAGES * PAGE_BYTES); /* for all that the library knows, reads are under way */
	guest_end(&g);
	return 0;
}
