/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpagefuse: page sharing for a virtual machine monitor (VMM) that takes part by itself. A VMM that cannot be changed
 * takes part through the preload (see pagefuse-run(1)), which is the same code.
 *
 * The library is mechanism only: pagefused(8) decides what is shared, and when. There is one instance per process, as
 * there is one address space. It starts one thread of its own, never exits, aborts or prints, and when in doubt it
 * leaves memory as it is. All functions may be called from any thread; they return 0 or a negative errno.
 *
 * Structures begin with their size, which the caller sets to sizeof. They grow at their ends, so that a VMM and a
 * library of different releases understand each other: a member that the caller's structure lacks counts as 0, or is
 * not filled in.
 */
#ifndef PAGEFUSE_H
#define PAGEFUSE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAGEFUSE_PUBLIC __attribute__((visibility("default")))

/** Which pages of this VM are shared. */
enum pagefuse_mode {
	PAGEFUSE_MODE_ZERO = 1,  /* only pages full of zeros are given back */
	PAGEFUSE_MODE_FULL = 2,  /* every present page is a candidate */
	PAGEFUSE_MODE_HINTS = 3, /* only pages named by pagefuse_before_read() or pagefuse_hint() */
};

struct pagefuse_options {
	size_t size;             /* sizeof(struct pagefuse_options) */
	const char *name;        /* of the VM: printable, no blanks, at most 63 bytes; NULL: the process's name */
	const char *socket_path; /* the daemon's socket; NULL: $PAGEFUSE_SOCKET or the default place */
	enum pagefuse_mode mode; /* 0: PAGEFUSE_MODE_FULL */
};

struct pagefuse_stats {
	size_t size;              /* sizeof(struct pagefuse_stats); on return: bytes that were filled in */
	uint64_t ram_pages;       /* 4 KiB pages under pagefuse */
	uint64_t shared_pages;    /* of these, mapped to the store and not written since, as of the last look */
	uint64_t zero_pages;      /* given back as zero pages */
	uint64_t diverged_pages;  /* written after having been shared */
	uint64_t busy_pages;      /* could not be held: pinned for DMA, or shared with a child; a total */
	uint64_t refused_bytes;   /* RAM that cannot take part; `pagefuse doctor` says why */
	uint64_t worker_cpu_nsec; /* CPU time of the library's thread */
	uint64_t hold_p50_usec;   /* how long pages were held */
	uint64_t hold_p99_usec;
	uint64_t hold_max_usec;
	int connected; /* whether a daemon serves this process now */
};

/** GPA of memory whose place in the guest is not known or does not matter. */
#define PAGEFUSE_GPA_UNKNOWN UINT64_MAX

/**
 * Sets name, mode and socket, before the first pagefuse_add_ram(). Strings are copied. Optional.
 * @return 0, -EINVAL (size, name or mode), -E2BIG (a member that this library does not know is not 0), -ENAMETOOLONG,
 * -EBUSY if RAM has been added already.
 */
PAGEFUSE_PUBLIC int pagefuse_configure(const struct pagefuse_options *options);

/**
 * Offers guest RAM for sharing: @length bytes at @hva, which the guest sees at @gpa, or PAGEFUSE_GPA_UNKNOWN. Must be a
 * private anonymous mapping of the caller's, page aligned, and stay mapped until pagefuse_remove_ram(). From now on the
 * caller tells the library what happens to this memory: pagefuse_discard() instead of madvise(MADV_DONTNEED), and
 * pagefuse_pause() around anything else that changes its mapping. The first call starts the library's thread; the
 * daemon need not be there yet.
 * @return 0; -EINVAL (not aligned, empty, no GPA); -EEXIST (overlaps RAM added before); -EOPNOTSUPP (not private
 * anonymous memory, locked, or huge pages of hugetlbfs: it counts as refused until it is removed; or this process is
 * under a system call filter that $PAGEFUSE_SECCOMP does not promise to let the library work); -ENOSPC (too many
 * regions); -ENOMEM; -EAGAIN (the thread could not be created).
 */
PAGEFUSE_PUBLIC int pagefuse_add_ram(uint64_t gpa, void *hva, size_t length);

/**
 * Takes RAM out again. Its bytes stay as they are: every page gets its own copy, so this can take long and needs
 * memory. Call it before munmap(). @return 0, -ENOENT (no such RAM), -ENOMEM (not enough memory to unshare, or a
 * device may be writing pages that were shared once: the RAM stays under pagefuse; call pagefuse_discard() on it
 * first).
 */
PAGEFUSE_PUBLIC int pagefuse_remove_ram(void *hva, size_t length);

/** madvise(MADV_DONTNEED) for RAM under pagefuse: its bytes are zeros afterwards. @return 0, -EINVAL, -ENOMEM. */
PAGEFUSE_PUBLIC int pagefuse_discard(void *hva, size_t length);

/**
 * Call this before a read from a disk into RAM under pagefuse. Shared pages there get memory of their own with the same
 * content, which can be shared again later; without this call, pages that the read fills may have to stay private for
 * good. No byte changes. Memory that is not under pagefuse is not an error.
 *
 * Pages read from a disk are likely to be equal to pages that other guests have read, so the library looks at them
 * soon, see pagefuse_hint(): some 100 ms and 1 s after this call, when the read should be over.
 */
PAGEFUSE_PUBLIC void pagefuse_before_read(const void *hva, size_t length);

/**
 * Tells the library that these pages will keep their content for a while, and that other guests may well have the same:
 * the library looks at them within some 200 ms, and they are shared at once if other guests have them. This is advice,
 * and no byte changes. Does not wait, and takes less than a microsecond; now and then it makes a system call. Memory
 * that is not under pagefuse is not an error.
 */
PAGEFUSE_PUBLIC void pagefuse_hint(const void *hva, size_t length);

/**
 * Call this with each file that the VMM will read into RAM under pagefuse by direct I/O, before the first read. I/O on
 * some file systems (NFS, Ceph, 9p, overlayfs) writes memory in a way that pagefuse cannot see: from then on nothing is
 * shared any more. Open files for which this was not called are found within a second.
 */
PAGEFUSE_PUBLIC void pagefuse_note_file(int fd);

/**
 * Between these two calls no page is held, mapped or given back, and no 2 MiB page is made; they nest. Pause waits for
 * a hold that is under way (usually less than 0.1 ms), or for a 2 MiB page that is being made (0.5 ms, longer where all
 * CPUs are busy). Pages stay shared.
 */
PAGEFUSE_PUBLIC int pagefuse_pause(void);
PAGEFUSE_PUBLIC int pagefuse_resume(void);

/**
 * Fills in @stats, whose size the caller has set, with the figures that the library itself has; the daemon's view is
 * `pagefuse showvminfo`. @return 0, -EINVAL (NULL, or a size that is smaller than that of the first release).
 */
PAGEFUSE_PUBLIC int pagefuse_get_stats(struct pagefuse_stats *stats);

/** The library's version, such as "0.1.0". Never NULL. */
PAGEFUSE_PUBLIC const char *pagefuse_version(void);

#ifdef __cplusplus
}
#endif

#endif
