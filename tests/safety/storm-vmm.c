/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VMM of the storm: its threads, what they do to their memory as VMMs do, and children that live on. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library/kernel.h"
#include "library/lock.h"
#include "library/sys.h"
#include "preload/next.h"
#include "tests/safety/storm.h"
#include "tests/support/test.h"

#ifndef UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES (1 << 1)
#endif

#define STEPS_IN_GROUP 48
#define NUMBERS_CLOSED 256
#define CHILD_STEPS_MAX 400

struct storm_life *storm_life;

static atomic_bool pins_taken; /* what may pin memory is in use from now on */
static atomic_bool pins_known; /* and the library knows */

/* ---- memory ---- */

static void discard(struct storm_thread *t, enum storm_kind kind)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);

	storm_check(t, range.from, range.length, "before a discard");
	test_check(madvise(storm_at(range.from), range.length, MADV_DONTNEED) == 0, "MADV_DONTNEED: %s",
		   strerror(errno));
	storm_wrote(t, kind, range.from, NULL, range.length);
	storm_check(t, range.from, range.length, "after a discard");
}

/** The kernel stops at a page that is locked, and what lies behind it stays. */
static void discard_in_vain(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);
	size_t before = test_random(&t->random) % (range.length / PAGE_BYTES) * PAGE_BYTES;
	void *locked = storm_at(range.from + before);

	storm_check(t, range.from, range.length, "before a discard that is refused");
	test_lock_memory(locked, PAGE_BYTES);
	test_check(madvise(storm_at(range.from), range.length, MADV_DONTNEED) < 0 && errno == EINVAL,
		   "MADV_DONTNEED of locked memory: %s", strerror(errno));
	if (before > 0)
		storm_wrote(t, STORM_REFUSED, range.from, NULL, before);
	storm_check(t, range.from, range.length, "after a discard that is refused");
	test_unlock_memory(locked, PAGE_BYTES);
}

static void leave_and_return(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);

	test_check(madvise(storm_at(range.from), range.length, MADV_UNMERGEABLE) == 0, "MADV_UNMERGEABLE: %s",
		   strerror(errno));
	storm_check(t, range.from, range.length, "when it is not to be shared");
	storm_store(t);
	test_check(madvise(storm_at(range.from), range.length, MADV_MERGEABLE) == 0, "MADV_MERGEABLE: %s",
		   strerror(errno));
	storm_wrote(t, STORM_UNMERGEABLE, range.from, storm_expected(range.from), range.length);
	storm_check(t, range.from, range.length, "when it may be shared again");
}

/** Where it cannot be proved that nothing is pinned, such a call may fail (docs/design/hold.md). */
static void may_be_refused(const char *call)
{
	test_check(errno == ENOMEM && (pins_taken || (storm_life->flags & STORM_CLOSES)),
		   "VMM %u (flags %x): %s: %s", storm_life->number, storm_life->flags, call, strerror(errno));
	atomic_fetch_add(&storm->refused, 1);
}

#define SEALED_MAX 4 /* of a thread: they are not shared any more */

static atomic_bool sealed[STORM_PAGES];

bool storm_is_sealed(size_t from, size_t length)
{
	for (size_t page = from / PAGE_BYTES; page * PAGE_BYTES < from + length; page++)
		if (sealed[page])
			return true;
	return false;
}

static void seal(struct storm_thread *t)
{
	size_t page = t->group * STORM_GROUP + test_random(&t->random) % STORM_GROUP, from = page * PAGE_BYTES;

	if (t->sealed == SEALED_MAX)
		return;
	t->sealed++;
	storm_check(t, from, PAGE_BYTES, "before it is sealed");
	test_check(syscall(SYS_mseal, storm_at(from), PAGE_BYTES, 0L) == 0, "mseal: %s", strerror(errno));
	sealed[page] = true;
	storm_wrote(t, STORM_SEAL, from, storm_expected(from), PAGE_BYTES);
	storm_check(t, from, PAGE_BYTES, "after it was sealed");
	/* The last argument is a hint to the kernel, which libcs before glibc 2.41 do not pass on. */
	test_check(mremap(storm_at(from), PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL) ==
				   MAP_FAILED &&
			   errno == EPERM,
		   "mremap of what is sealed: %s", strerror(errno));
	storm_check(t, from, PAGE_BYTES, "after mremap of what is sealed");
}

static void protect(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);

	if (storm_is_sealed(range.from, range.length))
		return;
	test_check(mprotect(storm_at(range.from), range.length, PROT_READ) == 0, "mprotect: %s", strerror(errno));
	storm_check(t, range.from, range.length, "read-only");
	test_check(mprotect(storm_at(range.from), range.length, PROT_READ | PROT_WRITE) == 0, "mprotect: %s",
		   strerror(errno));
	storm_wrote(t, STORM_PROTECT, range.from, storm_expected(range.from), range.length);
	storm_check(t, range.from, range.length, "writable again");
}

/**
 * Away and back, without a moment in which something else could be mapped there. One page, as several can be in several
 * mappings: where these are KSM's, Linux 6.18 begins such a call anew when it is stopped in the middle, and loses
 * bytes.
 */
static void remap(struct storm_thread *t)
{
	struct storm_range range = { t->group * STORM_GROUP_BYTES + test_random(&t->random) % STORM_GROUP * PAGE_BYTES,
				     PAGE_BYTES };
	void *place = mmap(NULL, range.length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *moved;

	test_check(place != MAP_FAILED, "mmap: %s", strerror(errno));
	if (storm_is_sealed(range.from, range.length)) {
		munmap(place, range.length);
		return;
	}
	storm_check(t, range.from, range.length, "before it is moved");
	moved = mremap(storm_at(range.from), range.length, range.length,
		       MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, place);
	if (moved == MAP_FAILED) {
		may_be_refused("mremap");
	} else {
		if (memcmp(moved, storm_expected(range.from), range.length) != 0)
			test_damage("VMM %u (flags %x): what was moved away has other bytes", storm_life->number,
				    storm_life->flags);
		test_check(mremap(moved, range.length, range.length, MREMAP_MAYMOVE | MREMAP_FIXED,
				  storm_at(range.from)) == storm_at(range.from),
			   "mremap back: %s", strerror(errno));
		place = NULL;
		storm_wrote(t, STORM_REMAP, range.from, storm_expected(range.from), range.length);
		storm_check(t, range.from, range.length, "after it was moved away and back");
		test_check(madvise(storm_at(range.from), range.length, MADV_MERGEABLE) == 0, "MADV_MERGEABLE: %s",
			   strerror(errno));
	}
	if (place != NULL)
		munmap(place, range.length);
	storm_check(t, range.from, range.length, "after mremap");
}

/** Empty pages there read as zeros: the userfaultfd is for write-protection, which is never put on. */
static void have_landing(struct storm_thread *t)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_WP };

	if (t->landing != NULL)
		return;
	storm_files_lock();
	t->userfaultfd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));
	storm_own(t->userfaultfd);
	storm_files_unlock();
	test_check(ioctl(t->userfaultfd, UFFDIO_API, &api) == 0, "UFFDIO_API: %s", strerror(errno));
	t->landing = pages_map(STORM_GROUP, false);
	range.range = (struct uffdio_range){ (uint64_t)t->landing, STORM_GROUP_BYTES };
	test_check(ioctl(t->userfaultfd, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
}

static bool is_zero(const char *page)
{
	return pages_differ(page, 0) < 0;
}

/**
 * A page of RAM is at @landed now, or still where it was. The result of a call that failed does not say: Linux 6.18
 * reports that nothing was moved where some was (docs/design/hold.md).
 */
static void look_where(struct storm_thread *t, size_t from, const char *landed, bool must)
{
	const char *expected = storm_expected(from), *page = storm_at(from);
	bool there = memcmp(landed, expected, PAGE_BYTES) == 0 && is_zero(page);

	if (!there && (must || memcmp(page, expected, PAGE_BYTES) != 0 || !is_zero(landed)))
		test_damage("VMM %u (flags %x): a page that was %staken away has other bytes", storm_life->number,
			    storm_life->flags, must ? "" : "not ");
	if (there)
		storm_wrote(t, STORM_TAKE, from, NULL, PAGE_BYTES);
}

/** What may be pinned, or that a child has, too, is not taken. */
static void take_away(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);
	struct uffdio_move move = { .src = (uint64_t)storm_at(range.from), .len = range.length };
	bool moved;

	have_landing(t);
	move.dst = (uint64_t)t->landing;
	move.mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES;
	storm_check(t, range.from, range.length, "before it is taken away");
	moved = ioctl(t->userfaultfd, UFFDIO_MOVE, &move) == 0;
	/* EPERM: it was a page of the store, and could not be made plain, when it was sealed. */
	test_check(moved || errno == EBUSY || errno == EAGAIN || errno == EEXIST ||
			   (errno == EPERM && storm_is_sealed(range.from, range.length)),
		   "UFFDIO_MOVE: %s", strerror(errno));
	for (size_t at = 0; at < range.length; at += PAGE_BYTES)
		look_where(t, range.from + at, t->landing + at, moved);
	storm_check(t, range.from, range.length, "after it was taken away");
	test_check(madvise(t->landing, STORM_GROUP_BYTES, MADV_DONTNEED) == 0, "MADV_DONTNEED: %s", strerror(errno));
}

/** By another process. */
static void write_remotely(struct storm_thread *t, enum storm_kind kind)
{
	struct storm_job *job = &storm_life->jobs[t->which];
	struct storm_range range = storm_choose(t, 8);
	size_t at = test_random(&t->random) % (STORM_IMAGE_PAGES - STORM_GROUP) * PAGE_BYTES;

	storm_check(t, range.from, range.length, "before another process writes");
	memcpy(job->bytes, storm->content + at, range.length);
	job->pid = getpid();
	job->kind = (int)kind;
	job->to = storm_at(range.from);
	job->length = range.length;
	atomic_store_explicit(&job->state, 1, memory_order_release);
	while (atomic_load_explicit(&job->state, memory_order_acquire) != 0)
		sched_yield();
	storm_wrote(t, kind, range.from, storm->content + at, range.length);
	storm_check(t, range.from, range.length, "after another process has written");
}

/* ---- descriptors ---- */

/** Past the preload, between two pieces of the worker's work: in the middle of one it would end it. */
static void close_unseen(void)
{
	storm_files_lock();
	memory_lock();
	for (int fd = 3; fd < NUMBERS_CLOSED; fd++)
		if (!storm_is_own(fd))
			sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	memory_unlock();
	storm_files_unlock();
}

/* ---- children ---- */

static void child_step(struct storm_thread *t)
{
	switch (test_random(&t->random) % 8) {
	case 0:
		discard(t, STORM_CHILD_DISCARD);
		storm_count(STORM_CHILD_DISCARD);
		break;
	case 1:
	case 2:
		storm_file_step(t, STORM_PREAD);
		storm_count(STORM_CHILD_READ);
		break;
	case 3:
		storm_content(t);
		storm_count(STORM_CHILD_STORE);
		break;
	case 4:
		storm_store(t);
		storm_count(STORM_CHILD_STORE);
		break;
	default:
		storm_check_group(t, t->group, "in passing");
	}
}

/** Only what the thread had that forked is known here, and all of that is. */
static _Noreturn void be_child(struct storm_thread *t)
{
	unsigned steps = (unsigned)(test_random(&t->random) % CHILD_STEPS_MAX);

	t->is_child = true;
	if (test_random(&t->random) % 4 == 0) {
		for (int fd = 3; fd < NUMBERS_CLOSED; fd++)
			if (fd != t->image)
				sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
		storm_count(STORM_CHILD_CLOSE);
	}
	for (uint32_t group = t->which; group < STORM_GROUPS; group += STORM_THREADS)
		storm_check_group(t, group, "just born");
	for (unsigned i = 0; i < steps; i++) {
		if (i % 16 == 0)
			t->group = storm_other_group(t);
		child_step(t);
		sched_yield();
	}
	for (uint32_t group = t->which; group < STORM_GROUPS; group += STORM_THREADS)
		storm_check_group(t, group, "at the end");
	_exit(0);
}

static void await_child(struct storm_thread *t)
{
	int status = 0;

	if (t->child == 0)
		return;
	test_check(waitpid(t->child, &status, 0) == t->child, "waitpid: %s", strerror(errno));
	if (status != 0)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1); /* it has said why */
	t->child = 0;
}

static void have_child(struct storm_thread *t)
{
	await_child(t);
	t->child = test_fork();
	if (t->child == 0)
		be_child(t);
}

/* ---- threads ---- */

/** How often each is done, of some thousand; stores are what is done else. */
static const uint16_t weights[STORM_CHILD_STORE] = {
	[STORM_FLICKER] = 300,
	[STORM_SAME] = 100,
	[STORM_CONTENT] = 300,
	[STORM_CHECK] = 200,
	[STORM_PREAD] = 150,
	[STORM_PREADV] = 50,
	[STORM_PIPE] = 50,
	[STORM_SOCKET] = 50,
	[STORM_STREAM] = 20,
	[STORM_RECEIVED] = 20,
	[STORM_WRITE_OUT] = 50,
	[STORM_ERRORS] = 30,
	[STORM_DISCARD] = 60,
	[STORM_REFUSED] = 20,
	[STORM_UNMERGEABLE] = 10,
	[STORM_PROTECT] = 10,
	[STORM_REMAP] = 4,
	[STORM_SEAL] = 2,
	[STORM_TAKE] = 30,
	[STORM_PROC_MEM] = 30,
	[STORM_FORK] = 4,
	[STORM_CLOSE_SEEN] = 2,
	[STORM_CLOSE_UNSEEN] = 1,
	[STORM_OVERLAY] = 40,
	[STORM_FUSE_CACHED] = 40,
	[STORM_FUSE_UNCACHED] = 60,
	[STORM_FUSE_STREAM] = 20,
	[STORM_FUSE_DIRECT] = 40,
	[STORM_DIRECT] = 60,
	[STORM_DIRECT_OUT] = 20,
	[STORM_AIO] = 80,
	[STORM_URING] = 80,
	[STORM_FIXED] = 20,
	[STORM_HIDDEN] = 20,
	[STORM_VM_WRITEV] = 30,
};

static bool is_allowed(enum storm_kind kind)
{
	if (storm->skipped[kind] != NULL)
		return false;
	if (kind == STORM_VM_WRITEV)
		return pins_known; /* else such a write is not seen in its very middle (docs/design/hold.md) */
	if (kind == STORM_FIXED || kind == STORM_HIDDEN)
		return pins_taken && (storm_life->flags & STORM_KEEPS);
	if (kind >= STORM_OVERLAY)
		return pins_taken;
	return !((kind == STORM_FORK && !(storm_life->flags & STORM_FORKS)) ||
		 (kind == STORM_CLOSE_UNSEEN && !(storm_life->flags & STORM_CLOSES)));
}

static enum storm_kind choose_kind(struct storm_thread *t)
{
	int left = (int)(test_random(&t->random) % 2048);

	for (enum storm_kind kind = 0; kind < STORM_CHILD_STORE; kind++) {
		left -= weights[kind];
		if (left < 0)
			return is_allowed(kind) ? kind : STORM_STORE;
	}
	return STORM_STORE;
}

static void step(struct storm_thread *t, enum storm_kind kind)
{
	switch (kind) {
	case STORM_STORE:
		storm_store(t);
		break;
	case STORM_FLICKER:
		storm_flicker(t);
		break;
	case STORM_SAME:
		storm_same(t);
		break;
	case STORM_CONTENT:
		storm_content(t);
		break;
	case STORM_CHECK:
		storm_check_group(t, storm_other_group(t), "in passing");
		break;
	case STORM_DISCARD:
		discard(t, kind);
		break;
	case STORM_REFUSED:
		discard_in_vain(t);
		break;
	case STORM_SEAL:
		seal(t);
		break;
	case STORM_TAKE:
		take_away(t);
		break;
	case STORM_UNMERGEABLE:
		leave_and_return(t);
		break;
	case STORM_PROTECT:
		protect(t);
		break;
	case STORM_REMAP:
		remap(t);
		break;
	case STORM_FORK:
		have_child(t);
		break;
	case STORM_CLOSE_UNSEEN:
		close_unseen();
		break;
	case STORM_PROC_MEM:
	case STORM_VM_WRITEV:
		write_remotely(t, kind);
		break;
	default:
		storm_file_step(t, kind);
	}
	storm_count(kind);
}

static void *run(void *argument)
{
	struct storm_thread *t = argument;

	storm_files_begin(t);
	while (test_now_msec() < storm_life->end_msec) {
		enum storm_kind kind;

		if (t->steps == 0) {
			t->group = storm_other_group(t);
			t->steps = STEPS_IN_GROUP;
			atomic_store_explicit(&storm_life->thread[t->which].group, t->group, memory_order_relaxed);
			storm_check_group(t, t->group, "in passing");
		}
		t->steps--;
		kind = choose_kind(t);
		step(t, kind);
		atomic_fetch_add_explicit(&storm_life->thread[t->which].steps, 1, memory_order_relaxed);
	}
	await_child(t);
	return NULL;
}

/** From now on the threads open what may pin memory, one of them before all others. */
static void take_pins(void)
{
	atomic_store(&pins_taken, true);
	test_check(storm_open(storm->pinning, storm->pinning_flags) >= 0, "%s: %s", storm->pinning, strerror(errno));
	atomic_store(&pins_known, true);
}

_Noreturn void storm_vmm(unsigned which)
{
	static struct storm_thread threads[STORM_THREADS];
	pthread_t handles[STORM_THREADS];

	storm_life = &storm->lives[which];
	close_range(3, ~0u, 0);
	storm_memory_begin();
	test_check(madvise(storm_ram, STORM_PAGES * PAGE_BYTES, MADV_MERGEABLE) == 0, "MADV_MERGEABLE: %s",
		   strerror(errno));
	for (unsigned i = 0; i < STORM_THREADS; i++) {
		threads[i] = (struct storm_thread){ .which = i,
						    .random = test_seed(storm_life->number * 100 + i + 10) };
		test_check(pthread_create(&handles[i], NULL, run, &threads[i]) == 0, "no thread");
	}
	if (storm_life->flags & STORM_PINS) {
		while (test_now_msec() < storm_life->pins_msec)
			poll(NULL, 0, 1);
		take_pins();
	}
	for (unsigned i = 0; i < STORM_THREADS; i++)
		pthread_join(handles[i], NULL);
	atomic_store(&storm_life->pid, 0);
	for (unsigned i = 0; i < STORM_THREADS; i++)
		for (uint32_t group = i; group < STORM_GROUPS; group += STORM_THREADS)
			storm_check_group(&threads[i], group, "at the end");
	atomic_store(&storm_life->ending, true);
	_exit(0);
}
