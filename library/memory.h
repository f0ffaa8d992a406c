/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the VMM does to its memory, as reported by the preload (which sees the calls) and by the public API. Everything
 * here may be called from any thread of the VMM, inside any libc call: nothing allocates from the heap, prints, or
 * changes errno. A change that excludes holds is bracketed:
 *
 *   r = memory_change_begin(CHANGE_DISCARD, address, length, advice);
 *   if (r < 0)  -> fail the call with -r, no end
 *   if (r == 1) -> the library has done it all: the call succeeds without the real one, no end
 *   result = the real call
 *   memory_change_end(CHANGE_DISCARD, address, length, advice, result succeeded);
 *
 * begin returns with the library's lock held, so only the system call may happen in between, and no signal handler
 * runs. For CHANGE_LOCK it is not held, since that call populates memory, and so may wait for a thread that changes
 * memory; but its pages are left alone from begin on.
 */
#ifndef PAGEFUSE_LIBRARY_MEMORY_H
#define PAGEFUSE_LIBRARY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "library/notes.h"

enum memory_change {
	/**
	 * The content is dropped, and the pages read as zeros: begin puts anonymous memory back. detail: the advice.
	 */
	CHANGE_DISCARD,
	/** munmap, or mmap with MAP_FIXED over it: the pages leave the region. */
	CHANGE_UNMAP,
	/** mremap, or detail: MADV_WIPEONFORK: begin makes the range plain anonymous memory, then as CHANGE_UNMAP. */
	CHANGE_MOVE,
	/** mprotect. detail: the protection. begin makes pages plain where it can. */
	CHANGE_PROTECT,
	/**
	 * mlock, mlock2: pages are made plain, and left alone from now on; if the call fails, only those it locked.
	 * mlockall: NULL, SIZE_MAX; detail: its flags.
	 */
	CHANGE_LOCK,
	/** munlock, munlockall. */
	CHANGE_UNLOCK,
	/** Advice that outlives a merge. detail: MADV_DONTFORK, DOFORK, DONTDUMP, DODUMP, HUGEPAGE, NOHUGEPAGE. */
	CHANGE_ADVICE,
	/**
	 * mbind. detail: the mode. Except for the default modes, pages are made plain where possible, and left alone
	 * from now on.
	 */
	CHANGE_POLICY,
	/**
	 * A call that changes no byte and no attribute, but fails for pages that are moved away: only excludes holds.
	 * detail: MADV_COLLAPSE, before which memory becomes plain, and blocks one mapping each; or other advice, or 0.
	 */
	CHANGE_NOTHING,
	/** MADV_UNMERGEABLE: pages are unshared, and left alone until MADV_MERGEABLE. */
	CHANGE_UNMERGEABLE,
	/**
	 * An attribute that mappings of the store could not keep, such as a protection key: pages are made plain or
	 * unshared, and left alone from now on.
	 */
	CHANGE_ATTRIBUTE,
	/**
	 * mseal: this memory can no longer be replaced. Pages are made plain or unshared, and left alone from now on.
	 */
	CHANGE_SEAL,
	/** MADV_REMOVE, which fails on guest RAM: begin makes it fail as on anonymous memory. */
	CHANGE_REMOVE,
	/**
	 * The VMM registers its own userfaultfd: pages are made plain, and left alone from now on. detail: the mode.
	 * Pages that the VMM put there are present, pages that it discarded are missing.
	 */
	CHANGE_USERFAULTFD,
	/**
	 * UFFDIO_MOVE of the VMM takes pages away from here: they are made plain first, and zeros that were given back
	 * are made pages again.
	 */
	CHANGE_TAKE,
	/** The VMM unregisters its userfaultfd. */
	CHANGE_USERFAULTFD_END,
	/**
	 * Mapped for DMA by VFIO or iommufd, or given to a pipe: pages are made plain or unshared, and left alone from
	 * now on.
	 */
	CHANGE_DEVICE,
};

/** Whether any page of the range is in a region. Cheap, no lock: the fast path of every interposed call. */
bool memory_is_ours(const void *address, size_t length);
/** Whether this change has to be reported to the library; also true if it ends a refusal of memory that was offered. */
bool memory_concerns(enum memory_change change, const void *address, size_t length);
/** Whether any region has ever been registered in this process. If not, the preload does nothing at all. */
bool memory_in_use(void);
/**
 * Whether the calling thread is between begin and end, or the library itself makes this call: then the call goes to the
 * kernel unchanged. No lock; also in a signal handler.
 */
bool memory_is_inside(void);

/**
 * MADV_MERGEABLE: makes [address, address+length) a region, or remembers why it cannot be one. Idempotent for memory
 * that is registered already. Starts the worker with the first region, and connects to the daemon if it is running.
 * @return 1 if a daemon serves it, so the call need not reach KSM; 2: the same, but parts of the range are not mapped,
 * for which the kernel would have returned ENOMEM; 0 if it should be passed on to the kernel; else as
 * pagefuse_add_ram().
 */
int memory_register(void *address, size_t length);

/** The same for memory that had been refused, by the worker, which is connected. @address, @length: whole pages. */
int memory_register_by_worker(void *address, size_t length);

int memory_change_begin(enum memory_change change, void *address, size_t length, int detail);
void memory_change_end(enum memory_change change, void *address, size_t length, int detail, bool succeeded);

/**
 * In the child of a fork, before anything that it inherited is forgotten. @cut: another thread was inside, and its
 * system call may have been made or not. A system call is never done by halves, so a look at the mappings tells.
 */
void memory_after_fork(bool cut);

/**
 * No more memory is registered from now on; registrations under way have ended on return. Any thread, without the lock.
 */
void memory_stop_offers(void);
/** In the child of a fork. */
void memory_forget(void);

/**
 * The VMM is about to read from a file into this memory, as its guest's disk does. Pages that map the store would get
 * copies of their own inside that mapping, and those can hardly ever be shared again (docs/design/hold.md); so they
 * become anonymous memory first; so do pages that have such copies already, and that the read covers wholly. No byte
 * changes, whether the read succeeds or not. Leaves errno as it is.
 */
void memory_before_read(const void *address, size_t length);
/**
 * The same, from file @fd; -1: not known. If the read fills pages of the store, the file is judged before the read,
 * however the VMM has got it: it may be opened and closed between two looks of the worker.
 */
void memory_before_read_from(int fd, const void *address, size_t length);
/**
 * Notes pages that a read fills, or is about to fill (notes.h): the worker looks at them soon. To be called after
 * transfers_begin(), if the read is a transfer. @fd: the file that is read; -1: not known. No lock; leaves errno as it
 * is.
 */
void memory_note_read(const void *address, size_t length, enum note_kind kind, int fd);
/** Whether any page is in the store, so that a read can matter. Cheap, no lock. */
bool memory_awaits_reads(void);

/**
 * A file was opened or received, and the VMM cannot use it yet; @direct: a file is about to be given O_DIRECT. If I/O
 * on it could write memory unseen by a hold, no hold begins from now on.
 */
void memory_note_file(int fd, bool direct);
/** Memory is about to be given to a device that writes it unseen: vhost-scsi. */
void memory_note_references(void);
/**
 * Memory may be about to be pinned, for longer than one request, in a way that descriptors do not show: buffers or
 * files of a ring are registered.
 */
void memory_note_pins(void);

/** Memory was discarded by a call that the library did not see: from now on nothing may be shared in this process. */
void memory_note_unseen(void);
bool memory_unseen(void);
/**
 * Worker, after memory_note_unseen(), until it has succeeded: all shared pages become anonymous memory of the same
 * content again, or get copies of their own, a piece at a time. @return whether no page reads the store any more.
 */
bool memory_leave_store(void);

/** KVM_SET_CPUID2: a vCPU was given its features. @nests: they let the guest run guests of its own. */
void memory_note_vcpu(bool nests);

#endif
