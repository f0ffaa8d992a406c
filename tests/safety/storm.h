/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of storm.c: what its processes have in common, and what a VMM's threads do. */
#ifndef PAGEFUSE_TESTS_SAFETY_STORM_H
#define PAGEFUSE_TESTS_SAFETY_STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/pages.h"

#define STORM_VMS 3
#define STORM_THREADS 4
#define STORM_PAGES 512u
#define STORM_GROUP 8u /* pages that a thread works on for a while; each group is one thread's */
#define STORM_GROUPS (STORM_PAGES / STORM_GROUP)
#define STORM_GROUP_BYTES (STORM_GROUP * PAGE_BYTES)
#define STORM_IMAGE_PAGES 96u /* of every file that is read */
#define STORM_IMAGE_BYTES (STORM_IMAGE_PAGES * PAGE_BYTES)
#define STORM_CONTENTS 40u /* that whole pages have; the first is zeros */

/** What is done, each of which has to be done at least once. */
enum storm_kind {
	STORM_STORE,
	STORM_FLICKER,
	STORM_SAME,
	STORM_CONTENT,
	STORM_CHECK,
	STORM_PREAD,
	STORM_PREADV,
	STORM_PIPE,
	STORM_SOCKET,
	STORM_STREAM,
	STORM_RECEIVED,
	STORM_WRITE_OUT,
	STORM_ERRORS,
	STORM_DISCARD,
	STORM_REFUSED,
	STORM_UNMERGEABLE,
	STORM_PROTECT,
	STORM_REMAP,
	STORM_SEAL,
	STORM_TAKE,
	STORM_PROC_MEM,
	STORM_FORK,
	STORM_CLOSE_SEEN,
	STORM_CLOSE_UNSEEN,
	/* From here on: what may pin memory. */
	STORM_OVERLAY,
	STORM_FUSE_CACHED,
	STORM_FUSE_UNCACHED,
	STORM_FUSE_STREAM,
	STORM_FUSE_DIRECT,
	STORM_DIRECT,
	STORM_DIRECT_OUT,
	STORM_AIO,
	STORM_URING,
	STORM_FIXED,
	STORM_HIDDEN,
	STORM_VM_WRITEV,
	/* From here on: not a thread's of a VMM. */
	STORM_CHILD_STORE,
	STORM_CHILD_READ,
	STORM_CHILD_DISCARD,
	STORM_CHILD_CLOSE,
	STORM_STOP,
	STORM_FREEZE,
	STORM_TRACE,
	STORM_KINDS
};

extern const char *const storm_names[STORM_KINDS];

/** A life of a VMM: what it does beyond the usual. */
#define STORM_PINS (1u << 0)   /* takes up what may pin memory, after a while */
#define STORM_FORKS (1u << 1)  /* has children that live on */
#define STORM_CLOSES (1u << 2) /* closes descriptors that it does not know */
#define STORM_KEEPS (1u << 3)  /* with STORM_PINS: also for longer than a request */

/** A write by another process. */
struct storm_job {
	_Atomic unsigned state; /* 0: none, 1: posted, 2: being done */
	int kind;               /* enum storm_kind */
	pid_t pid;
	void *to;
	size_t length;
	char bytes[STORM_GROUP_BYTES];
};

/** One VMM. */
struct storm_life {
	_Atomic pid_t pid; /* 0: none that others may stop */
	unsigned number, flags;
	uint64_t pins_msec, end_msec;
	atomic_bool ending; /* it may hang up now */
	struct {
		_Atomic uint32_t group; /* that it works on */
		_Atomic uint64_t steps;
	} thread[STORM_THREADS];
	struct storm_job jobs[STORM_THREADS];
};

/** Between all processes. */
struct storm_common {
	_Atomic uint64_t done[STORM_KINDS];
	const char *skipped[STORM_KINDS]; /* why it is not done here; set before the others begin */
	struct storm_life lives[STORM_VMS];
	_Atomic uint64_t refused; /* calls that failed for want of proof that nothing is pinned, as they may */
	pid_t director;
	int image, scratch; /* files of the director, to be opened by /proc */
	char pinning[64];   /* a file to be opened that may pin memory */
	int pinning_flags;
	size_t direct_bytes;
	_Alignas(PAGE_BYTES) char content[STORM_IMAGE_BYTES]; /* of all files that are read */
};

extern struct storm_common *storm;

static inline void storm_count(enum storm_kind kind)
{
	atomic_fetch_add_explicit(&storm->done[kind], 1, memory_order_relaxed);
}

/** The VMM: works until its time is over, then ends the process. */
_Noreturn void storm_vmm(unsigned which);

/* ---- memory (storm-memory.c) ---- */

struct storm_thread {
	unsigned which;
	uint64_t random;
	uint32_t group;
	unsigned steps; /* left in this group */
	bool is_child;
	int child; /* pid, or 0 */
	int pipe[2], pair[2];
	int image, overlay, fuse_cached, fuse_uncached, fuse_direct, direct, scratch, memory_file; /* -1: not open */
	/** One group, and not RAM. */
	char *plain;
	char *landing; /* where pages are taken to, by a userfaultfd; NULL: not yet */
	int userfaultfd;
	unsigned sealed; /* pages of its own */
	void *rings;     /* of storm-rings.c */
};

extern struct storm_life *storm_life;
extern char *storm_ram;

void storm_memory_begin(void);
/** Address of byte @at of RAM. */
static inline char *storm_at(size_t at)
{
	return storm_ram + at;
}

/**
 * Bytes [from, from+length) of RAM, which the calling thread owns, have been changed to @bytes, or to zeros if NULL.
 */
void storm_wrote(struct storm_thread *t, enum storm_kind kind, size_t from, const void *bytes, size_t length);
/** What they have to be. */
const char *storm_expected(size_t from);
/** Checks the pages of [from, from+length). */
void storm_check(const struct storm_thread *t, size_t from, size_t length, const char *when);
void storm_check_group(const struct storm_thread *t, uint32_t group, const char *when);

/** A range within the thread's group: @unit: of what offset and length are multiples. */
struct storm_range {
	size_t from, length;
};
struct storm_range storm_choose(struct storm_thread *t, size_t unit);
/** Another group of the thread's own. */
uint32_t storm_other_group(struct storm_thread *t);

/** Steps of the CPU. */
void storm_store(struct storm_thread *t);
void storm_flicker(struct storm_thread *t);
void storm_same(struct storm_thread *t);
void storm_content(struct storm_thread *t);
/** While a read of @range is under way: the CPU writes elsewhere, also in the same pages. */
void storm_between(struct storm_thread *t, struct storm_range range);

/* ---- reads and writes (storm-files.c, storm-rings.c) ---- */

/** Opens and remembers that it is the VMM's own. @return the descriptor or -1. */
int storm_open(const char *path, int flags);
/** Makes a descriptor the VMM's own. The lock keeps it from being closed unseen before that. */
void storm_files_lock(void);
void storm_own(int fd);
void storm_files_unlock(void);
bool storm_is_own(int fd);
/** Pages of RAM that are sealed, for good. */
bool storm_is_sealed(size_t from, size_t length);

void storm_files_begin(struct storm_thread *t);
/** Reads by @read what lies at a random place of the image; it gives the number of bytes, or -errno. */
void storm_read(struct storm_thread *t, enum storm_kind kind, size_t unit,
		ssize_t (*read)(struct storm_thread *t, struct storm_range range, off_t at));
void storm_file_step(struct storm_thread *t, enum storm_kind kind);
void storm_ring_step(struct storm_thread *t, enum storm_kind kind);
/** @return why there is none of a kind, or NULL. */
const char *storm_rings_missing(void);

/* ---- what others do to them (storm-others.c) ---- */

/** Writes guest memory when asked to. Does not return. */
_Noreturn void storm_remote(void);
/**
 * Returns in a child of this process, which is the storm, and stops its VMMs at random until it ends; ends like it
 * then.
 */
void storm_stop_begin(void);

#endif
