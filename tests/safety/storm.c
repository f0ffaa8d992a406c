/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything at once. Some VMMs, with the preload's calls and the library, have their memory shared and unshared by one
 * director, with each other and within themselves, and meanwhile do to it all that VMMs do and all that others do to
 * VMMs: the list is in storm.h. Each byte is known, and so is what each call has to give.
 *
 * A VMM lives some seconds and is followed by another. What it does beyond the usual depends on its number: what may
 * pin memory is taken up in the middle of a life, as there are no holds of diverged pages after that without swap;
 * some have children, some close descriptors that they do not know.
 *
 * $PAGEFUSE_TEST_SECONDS says how long. What was done is told at the end; each kind that is not skipped has to be
 * there.
 *
 * Left out is what the documents say does not work: discards past libc, process_vm_writev into a VMM that is not
 * known to have memory pinned, rings past libc that have pinned none, descriptors closed unseen in the middle of a
 * hold.
 */
#include "tests/safety/storm.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library/sys.h"
#include "preload/next.h"
#include "tests/safety/storm-paths.h"
#include "tests/support/director.h"
#include "tests/support/fuse.h"
#include "tests/support/test.h"

#define LIFE_MSEC_MIN 1500
#define LIFE_MSEC_MAX 5000
#define PINS_MSEC_MAX 1500
#define FUSE_SERVERS 3

const char *const storm_names[STORM_KINDS] = {
	[STORM_STORE] = "store",
	[STORM_FLICKER] = "store and restore",
	[STORM_SAME] = "store of the same bytes",
	[STORM_CONTENT] = "store of whole pages",
	[STORM_CHECK] = "look",
	[STORM_PREAD] = "pread",
	[STORM_PREADV] = "preadv",
	[STORM_PIPE] = "read from a pipe",
	[STORM_SOCKET] = "recv",
	[STORM_STREAM] = "read from what fopen has opened",
	[STORM_RECEIVED] = "pread from what recvmmsg has brought",
	[STORM_WRITE_OUT] = "pwrite",
	[STORM_ERRORS] = "read that fails",
	[STORM_DISCARD] = "discard",
	[STORM_REFUSED] = "discard that locked memory stops",
	[STORM_UNMERGEABLE] = "MADV_UNMERGEABLE and back",
	[STORM_PROTECT] = "mprotect and back",
	[STORM_REMAP] = "mremap and back",
	[STORM_SEAL] = "mseal",
	[STORM_TAKE] = "UFFDIO_MOVE of the VMM's own",
	[STORM_PROC_MEM] = "/proc/PID/mem",
	[STORM_FORK] = "fork",
	[STORM_CLOSE_SEEN] = "close of all descriptors",
	[STORM_CLOSE_UNSEEN] = "the same unseen",
	[STORM_OVERLAY] = "pread from overlayfs",
	[STORM_FUSE_CACHED] = "pread from FUSE",
	[STORM_FUSE_UNCACHED] = "pread from FUSE without cache",
	[STORM_FUSE_STREAM] = "the same of what fopen has opened",
	[STORM_FUSE_DIRECT] = "pread from FUSE with O_DIRECT",
	[STORM_DIRECT] = "pread with O_DIRECT",
	[STORM_DIRECT_OUT] = "pwrite with O_DIRECT",
	[STORM_AIO] = "AIO",
	[STORM_URING] = "io_uring",
	[STORM_FIXED] = "io_uring into fixed buffers",
	[STORM_HIDDEN] = "hidden ring",
	[STORM_VM_WRITEV] = "process_vm_writev",
	[STORM_CHILD_STORE] = "store in a child",
	[STORM_CHILD_READ] = "pread in a child",
	[STORM_CHILD_DISCARD] = "discard in a child",
	[STORM_CHILD_CLOSE] = "close of all descriptors in a child",
	[STORM_STOP] = "SIGSTOP",
	[STORM_FREEZE] = "freezer",
	[STORM_TRACE] = "attach",
};

struct storm_common *storm;

/** What the director has of each VMM. */
static struct seat {
	pid_t pid;
	struct director_vm *vm;                             /* NULL: has not called yet */
	uint64_t steps[STORM_THREADS], msec[STORM_THREADS]; /* when a thread was seen to have come on */
} seats[STORM_VMS];

static struct director *director;
static uint64_t random_state;
static unsigned lives;
/* Of VMMs that are gone. */
static uint64_t reports[REPORT_END], common_merges, kept_private, busy, repaired, met_again, noted;

/* ---- files and file systems ---- */

static void answer_read(const struct fuse_read *read)
{
	static uint64_t random;
	uint64_t length = read->offset >= STORM_IMAGE_BYTES ? 0 : STORM_IMAGE_BYTES - read->offset;

	random = random == 0 ? test_seed((uint64_t)getpid()) : random;
	for (uint64_t i = test_random(&random) % 32; i > 0; i--)
		sched_yield(); /* so that it is under way for a while */
	fuse_reply(read, storm->content + read->offset, length < read->length ? length : read->length);
}

static void skip(enum storm_kind first, enum storm_kind last, const char *why)
{
	for (enum storm_kind kind = first; kind <= last; kind++)
		storm->skipped[kind] = why;
}

static void begin_fuse(void)
{
	static const struct fuse_plan plan = {
		.folder = STORM_FUSE_FOLDER,
		.file_bytes = STORM_IMAGE_BYTES,
		.servers = FUSE_SERVERS,
		.read = answer_read,
	};

	if (mkdir(STORM_FUSE_FOLDER, 0700) != 0 || fuse_begin(&plan) < 0)
		skip(STORM_FUSE_CACHED, STORM_FUSE_DIRECT, "no file system of one's own to be had by FUSE");
}

static bool write_image(int fd)
{
	return pwrite(fd, storm->content, STORM_IMAGE_BYTES, 0) == (ssize_t)STORM_IMAGE_BYTES;
}

static void begin_overlay(void)
{
	static const char options[] = "lowerdir=" STORM_FOLDER "/lower,upperdir=" STORM_FOLDER
				      "/upper,workdir=" STORM_FOLDER "/work";
	int fd;

	if (mkdir(STORM_FOLDER "/lower", 0700) != 0 || mkdir(STORM_FOLDER "/upper", 0700) != 0 ||
	    mkdir(STORM_FOLDER "/work", 0700) != 0 || mkdir(STORM_OVERLAY_FOLDER, 0700) != 0) {
		skip(STORM_OVERLAY, STORM_OVERLAY, "no folders for an overlay");
		return;
	}
	fd = open(STORM_FOLDER "/lower/file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	test_check(fd >= 0 && write_image(fd), "a file for an overlay: %s", strerror(errno));
	close(fd);
	if (mount("pagefuse-test", STORM_OVERLAY_FOLDER, "overlay", 0, options) != 0)
		skip(STORM_OVERLAY, STORM_OVERLAY, "overlayfs cannot be mounted");
}

static int make_file(void)
{
	char path[] = "pagefuse-storm-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	test_check(fd >= 0 && unlink(path) == 0 && write_image(fd), "%s: %s", path, strerror(errno));
	return fd;
}

/** What direct I/O has to be aligned to; 0: there is none. */
static size_t find_direct_bytes(void)
{
	void *page = pages_map(1, false);
	int fd = open(storm->pinning, O_RDONLY | O_DIRECT | O_CLOEXEC);
	size_t found = 0;

	for (size_t bytes = PAGE_BYTES; fd >= 0 && bytes >= 512; bytes /= 2)
		if (pread(fd, (char *)page + PAGE_BYTES - bytes, bytes, (off_t)bytes) == (ssize_t)bytes)
			found = bytes;
	munmap(page, PAGE_BYTES);
	close(fd);
	return found;
}

static void choose_pinning(void)
{
	snprintf(storm->pinning, sizeof(storm->pinning), "/proc/%d/fd/%d", storm->director, storm->image);
	storm->pinning_flags = O_RDONLY | O_DIRECT;
	storm->direct_bytes = find_direct_bytes();
	if (storm->direct_bytes > 0)
		return;
	skip(STORM_DIRECT, STORM_HIDDEN, "no O_DIRECT on the file system of the working directory");
	storm->direct_bytes = PAGE_BYTES;
	storm->pinning_flags = O_RDONLY;
	if (storm->skipped[STORM_FUSE_UNCACHED] == NULL)
		snprintf(storm->pinning, sizeof(storm->pinning), STORM_FUSE_FOLDER "/" FUSE_UNCACHED);
	else
		skip(STORM_OVERLAY, STORM_VM_WRITEV, "there is no file here that may pin memory");
}

/** What may pin memory is opened in a process of its own: what this one had open a VMM would be taken to have, too. */
static void begin_pinning_files(void)
{
	int ready[2], status;
	char byte;

	test_check(pipe2(ready, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	if (test_fork() == 0) {
		if (storm->skipped[STORM_OVERLAY] == NULL) {
			begin_fuse();
			begin_overlay();
		}
		choose_pinning();
		if (storm->skipped[STORM_URING] == NULL && storm_rings_missing() != NULL)
			skip(STORM_URING, STORM_HIDDEN, storm_rings_missing());
		test_check(write(ready[1], "", 1) == 1, "write to a pipe: %s", strerror(errno));
		close(ready[1]);
		for (;;)
			pause(); /* the servers live as long */
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		wait(&status);
		test_fail("no files to be read");
	}
	close(ready[0]);
}

static void begin_files(void)
{
	storm->director = getpid();
	for (size_t i = 0; i < STORM_IMAGE_PAGES; i++)
		pages_fill(storm->content + i * PAGE_BYTES, i % STORM_CONTENTS);
	if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("pagefuse-test", STORM_FOLDER, "tmpfs", 0, NULL) != 0)
		skip(STORM_OVERLAY, STORM_FUSE_DIRECT, "no mounts of one's own to be had");
	storm->image = make_file();
	storm->scratch = make_file();
	test_check(ftruncate(storm->scratch, (off_t)(STORM_VMS * STORM_THREADS * STORM_GROUP_BYTES)) == 0,
		   "ftruncate: %s", strerror(errno));
	begin_pinning_files();
}

/* ---- lives ---- */

static void begin_life(unsigned which)
{
	enum { FORKS = STORM_FORKS,
	       PINS = STORM_PINS,
	       CLOSES = STORM_CLOSES,
	       KEEPS = STORM_PINS | STORM_KEEPS };
	static const unsigned flags[] = { FORKS, PINS | FORKS, KEEPS | CLOSES, CLOSES, PINS, 0, KEEPS | FORKS | CLOSES,
					  PINS | CLOSES, KEEPS };
	struct storm_life *life = &storm->lives[which];
	uint64_t now = test_now_msec(), span = LIFE_MSEC_MAX - LIFE_MSEC_MIN;
	pid_t pid;

	memset(life, 0, sizeof(*life));
	life->number = lives++;
	life->flags = flags[life->number % (sizeof(flags) / sizeof(*flags))];
	if (storm->skipped[STORM_VM_WRITEV] != NULL)
		life->flags &= ~STORM_PINS;
	life->pins_msec = now + test_random(&random_state) % PINS_MSEC_MAX;
	life->end_msec = now + LIFE_MSEC_MIN + test_random(&random_state) % span;
	pid = test_fork();
	if (pid == 0)
		storm_vmm(which);
	seats[which] = (struct seat){ .pid = pid };
	atomic_store(&life->pid, pid);
}

/** What a VMM has said is added up, and its slots are given back. */
static void forget(struct director_vm *vm)
{
	const struct ring_page *ring = vm->base;

	for (unsigned i = 0; i < REPORT_END; i++)
		reports[i] += vm->reports[i];
	noted += vm->noted;
	if (ring != NULL) {
		kept_private += ring->stats.kept_private_pages;
		busy += ring->stats.busy_pages;
		repaired += ring->stats.repaired_moves;
	}
	director_forget(vm);
}

static pid_t caller_of(const struct director_vm *vm)
{
	struct ucred peer = { 0 };
	socklen_t length = sizeof(peer);

	return getsockopt(vm->socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

/** Whoever calls is a new VMM, or one that has lost its socket: what it reads is known when it is ready. */
static void take_calls(void)
{
	while (director_is_called(director)) {
		struct director_vm *vm = director_try_accept(director);
		pid_t pid = vm == NULL ? 0 : caller_of(vm);

		for (unsigned i = 0; vm != NULL && i < STORM_VMS; i++) {
			if (seats[i].pid != pid)
				continue;
			if (seats[i].vm != NULL) {
				forget(seats[i].vm);
				met_again++;
			}
			seats[i].vm = vm;
			vm = NULL;
		}
		if (vm != NULL)
			forget(vm); /* it has ended meanwhile */
	}
}

/** @return whether the VMM lives and can be given orders. */
static bool look_after(unsigned which, bool again)
{
	struct seat *seat = &seats[which];
	int status;

	if (seat->pid == 0)
		return false;
	if (waitpid(seat->pid, &status, WNOHANG) == seat->pid) {
		if (WIFSIGNALED(status))
			test_damage("a VMM was ended by signal %d", WTERMSIG(status));
		if (WEXITSTATUS(status) != 0)
			test_fail("a VMM ended with status %d", WEXITSTATUS(status)); /* it has said why */
		if (seat->vm != NULL)
			forget(seat->vm);
		*seat = (struct seat){ 0 };
		if (again)
			begin_life(which);
		return false;
	}
	return seat->vm != NULL && seat->vm->socket >= 0 && seat->vm->region_count > 0;
}

/** No thread of a VMM may sleep for ever. */
static void check_awake(unsigned which)
{
	const struct storm_life *life = &storm->lives[which];
	struct seat *seat = &seats[which];
	uint64_t now = test_patient_msec();

	for (unsigned i = 0; i < STORM_THREADS; i++) {
		uint64_t steps = atomic_load_explicit(&life->thread[i].steps, memory_order_relaxed);

		if (steps != seat->steps[i] || seat->msec[i] == 0) {
			seat->steps[i] = steps;
			seat->msec[i] = now;
		} else if (now - seat->msec[i] > TEST_PATIENCE_SECONDS * 1000 && !atomic_load(&life->ending)) {
			test_damage("thread %u of VMM %u (flags %x) sleeps after %llu steps", i, life->number,
				    life->flags, (unsigned long long)steps);
		}
	}
}

/* ---- the director ---- */

/** A run in a VMM's RAM: any, or around a group that a thread works on. */
static uint32_t choose_run(unsigned which, uint32_t *ret_count)
{
	const struct director_vm *vm = seats[which].vm;
	uint32_t count = 1 + (uint32_t)(test_random(&random_state) % RING_RUN_PAGES_MAX);
	uint32_t first = (uint32_t)(test_random(&random_state) % STORM_PAGES);
	uint32_t pages = vm->regions[0].pages;

	if (test_random(&random_state) % 2) {
		unsigned thread = (unsigned)(test_random(&random_state) % STORM_THREADS);

		first = STORM_GROUP *
			atomic_load_explicit(&storm->lives[which].thread[thread].group, memory_order_relaxed);
		count = count % (2 * STORM_GROUP) + 1;
	}
	first = first < pages ? first : 0;
	*ret_count = count < pages - first ? count : pages - first;
	return vm->regions[0].page + first;
}

/** Orders merges of all pages whose last hash is that of a page of @vm, with the slot that this was fetched to. */
static void merge_equals(struct director_vm *other, const struct director_page *page, uint32_t slot)
{
	uint32_t first = other->regions[0].page;

	for (uint32_t i = first; i < first + other->regions[0].pages; i++)
		if (other->pages[i].hash == page->hash && other->pages[i].asked == 0 &&
		    other->pages[i].state == DIRECTOR_PRIVATE)
			director_order(other, ORDER_MERGE, i, 1, slot);
}

/** Shares a run with whoever has the same, in the same VMM and in others, all at the same time. */
static void share_among(unsigned which)
{
	struct director_vm *vm = seats[which].vm;
	uint32_t count, first = choose_run(which, &count), slot = director_take_slots(director, count);

	for (unsigned k = 0; k < STORM_VMS; k++)
		if (seats[k].vm != NULL && seats[k].vm->region_count > 0)
			director_scan(seats[k].vm, seats[k].vm->regions[0].page, seats[k].vm->regions[0].pages);
	if (director_fetch(vm, first, count, slot) == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		for (unsigned k = 0; k < STORM_VMS && vm->pages[first + i].answer == REPORT_FETCHED; k++)
			if (seats[(which + k) % STORM_VMS].vm != NULL &&
			    seats[(which + k) % STORM_VMS].vm->region_count > 0)
				merge_equals(seats[(which + k) % STORM_VMS].vm, &vm->pages[first + i], slot + i);
	for (unsigned k = 0; k < STORM_VMS; k++) {
		struct director_vm *other = seats[k].vm;
		uint64_t before = other != NULL ? other->reports[REPORT_MERGED] : 0;

		if (other == NULL)
			continue;
		director_wait(other);
		common_merges += k == which ? 0 : other->reports[REPORT_MERGED] - before;
	}
}

/** Pages that it reads into are looked at soon after from then on, whatever else is done to them; or no longer. */
static void want_notes(struct director_vm *vm, bool want)
{
	struct ring_record order = { .op = ORDER_NOTES, .count = 1, .page = 1 };

	order.value = want;
	director_post(vm, &order);
}

static void direct(unsigned which)
{
	struct director_vm *vm = seats[which].vm;
	uint32_t count, first = choose_run(which, &count);

	if (test_random(&random_state) % 16 == 0)
		want_notes(vm, test_random(&random_state) % 4 != 0);
	switch (test_random(&random_state) % 8) {
	case 0:
		director_churn(vm, vm->regions[0].page, vm->regions[0].pages, &random_state);
		break;
	case 1:
		if (test_random(&random_state) % 2)
			director_unshare(vm, first, count);
		else
			director_zero(vm, vm->regions[0].page, vm->regions[0].pages); /* what is full of zeros */
		break;
	case 2: /* much to share anew, also with others, which go by these hashes */
		director_unshare(vm, vm->regions[0].page, vm->regions[0].pages);
		director_scan(vm, vm->regions[0].page, vm->regions[0].pages);
		break;
	case 3:
	case 4:
		director_scan(vm, first, count);
		director_share(vm, first, count);
		break;
	default:
		share_among(which);
	}
}

/* ---- the end ---- */

static bool everything_was_done(void)
{
	for (enum storm_kind kind = 0; kind < STORM_KINDS; kind++)
		if (storm->skipped[kind] == NULL && atomic_load(&storm->done[kind]) == 0)
			return false;
	return reports[REPORT_MERGED] > 0 && reports[REPORT_ZEROED] > 0 && reports[REPORT_DIVERGED] > 0 &&
	       common_merges > 0 && noted > 0;
}

static void tell(void)
{
	for (enum storm_kind kind = 0; kind < STORM_KINDS; kind++) {
		if (storm->skipped[kind] != NULL)
			fprintf(stderr, "%12s  %s: %s\n", "skipped", storm_names[kind], storm->skipped[kind]);
		else
			fprintf(stderr, "%12llu  %s\n", (unsigned long long)atomic_load(&storm->done[kind]),
				storm_names[kind]);
	}
	fprintf(stderr,
		"%u VMMs, which called again %llu times; merged %llu, %llu of them with another VMM's; zeroed %llu, "
		"diverged %llu, differs %llu, busy %llu, gone %llu, full %llu; refused by the kernel %llu, kept "
		"private %llu, moves repaired %llu, calls refused %llu, noted %llu\n",
		lives, (unsigned long long)met_again, (unsigned long long)reports[REPORT_MERGED],
		(unsigned long long)common_merges, (unsigned long long)reports[REPORT_ZEROED],
		(unsigned long long)reports[REPORT_DIVERGED], (unsigned long long)reports[REPORT_DIFFERS],
		(unsigned long long)reports[REPORT_BUSY], (unsigned long long)reports[REPORT_GONE],
		(unsigned long long)reports[REPORT_FULL], (unsigned long long)busy, (unsigned long long)kept_private,
		(unsigned long long)repaired, (unsigned long long)atomic_load(&storm->refused),
		(unsigned long long)noted);
}

/** @again: who ends is followed by another. @return whether any VMM lives. */
static bool go_round(bool again)
{
	bool any = false;

	take_calls();
	for (unsigned i = 0; i < STORM_VMS; i++) {
		if (look_after(i, again))
			direct(i);
		if (seats[i].pid == 0)
			continue;
		check_awake(i);
		any = true;
	}
	return any;
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (TEST_THREAD_SANITIZER)
		test_skip("under ThreadSanitizer the library's descriptors are among the VMM's");
	test_needs_moves();
	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(storm != MAP_FAILED, "mmap: %s", strerror(errno));
	if (sys_raw(SYS_mseal, 0, 0, 0, 0, 0, 0) != 0)
		skip(STORM_SEAL, STORM_SEAL, "this kernel does not seal memory");
	storm_stop_begin();
	random_state = test_seed(1);
	begin_files();
	if (test_fork() == 0)
		storm_remote();
	director = director_new();
	for (unsigned i = 0; i < STORM_VMS; i++)
		begin_life(i);
	/* A slow build may need longer than its time to have done all. */
	while (test_running() || !everything_was_done())
		go_round(true);
	while (go_round(false))
		;
	tell();
	director_free(director);
	fprintf(stderr, "no byte was wrong\n");
	return 0;
}
