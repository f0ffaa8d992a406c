/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the VMM does to its memory, as told by the preload (which sees the calls) and by the public API. Everything here
 * may be called from any thread of the VMM, inside any libc call: nothing allocates from the heap, prints, or changes
 * errno. A change that excludes holds is bracketed:
 *
 *   r = memory_change_begin(CHANGE_DISCARD, address, length, advice);
 *   if (r < 0)  -> fail the call with -r, no end
 *   if (r == 1) -> the library has done it all: the call succeeds without the real one, no end
 *   result = the real call
 *   memory_change_end(CHANGE_DISCARD, address, length, advice, result succeeded);
 *
 * begin returns with the library's lock held, so only the system call may happen in between, and no signal handler
 * runs. For CHANGE_LOCK it is not held, since that call fills memory, and so may wait for somebody who changes memory;
 * but its pages are left alone from begin on.
 */
#ifndef PAGEFUSE_LIBRARY_MEMORY_H
#define PAGEFUSE_LIBRARY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "library/notes.h"

enum memory_change {
	/** Content is dropped, zeros come back: begin puts anonymous memory back. detail: the advice. */
	CHANGE_DISCARD,
	/** munmap, or mmap with MAP_FIXED over it: the pages leave the region. */
	CHANGE_UNMAP,
	/** mremap, or detail: MADV_WIPEONFORK: begin makes the range plain anonymous memory, then as CHANGE_UNMAP. */
	CHANGE_MOVE,
	/** mprotect. detail: the protection. begin makes plain what can be. */
	CHANGE_PROTECT,
	/** mlock, mlock2: made plain, left alone from now on; if it fails, what it locked. mlockall: NULL, SIZE_MAX. */
	CHANGE_LOCK,
	/** munlock, munlockall. */
	CHANGE_UNLOCK,
	/** Advice that outlives a merge. detail: MADV_DONTFORK, DOFORK, DONTDUMP, DODUMP, HUGEPAGE, NOHUGEPAGE. */
	CHANGE_ADVICE,
	/** mbind. detail: the mode. Any but the default ones: made plain where it can be, left alone from now on. */
	CHANGE_POLICY,
	/** What changes no byte and no attribute, but fails for pages that are moved away: only excludes holds. */
	CHANGE_NOTHING,
	/** MADV_UNMERGEABLE: unshared, left alone until MADV_MERGEABLE. */
	CHANGE_UNMERGEABLE,
	/** A mark that mappings of the store could not keep, as a key: plain or unshared, left alone from now on. */
	CHANGE_ATTRIBUTE,
	/** mseal: nothing can take the place of this memory any more. Plain or unshared, left alone from now on. */
	CHANGE_SEAL,
	/** MADV_REMOVE, which fails on guest RAM: begin sees to it that it does as over anonymous memory. */
	CHANGE_REMOVE,
	/**
	 * The VMM registers its own userfaultfd: plain memory again, left alone from now on. detail: the mode. What the
	 * VMM put there or discarded is present or missing accordingly.
	 */
	CHANGE_USERFAULTFD,
	/** Its UFFDIO_MOVE takes pages away from here: plain first, and zeros that were given back are pages again. */
	CHANGE_TAKE,
	/** And unregisters it. */
	CHANGE_USERFAULTFD_END,
	/** Mapped for DMA by VFIO or iommufd: unshared, left alone from now on. */
	CHANGE_DEVICE,
};

/** Whether any page of the range is in a region. Cheap, no lock: the fast path of every interposed call. */
bool memory_is_ours(const void *address, size_t length);
/** Whether the library has to be told of this change: also if it ends that memory which was offered is left alone. */
bool memory_concerns(enum memory_change change, const void *address, size_t length);
/** Whether any region has ever been registered in this process. If not, the preload does nothing at all. */
bool memory_in_use(void);
/**
 * Whether the calling thread is between begin and end, or the library itself has made this call: it goes to the kernel
 * as it is. No lock; also in a signal handler.
 */
bool memory_is_inside(void);

/**
 * MADV_MERGEABLE: makes [address, address+length) a region, or remembers why it cannot be one. Idempotent for what is
 * registered already. Starts the worker with the first region, connects to the daemon if it is there.
 * @return 1 if a daemon serves it: the call need not reach KSM; 0 if it should be passed
 * on to the kernel; else as pagefuse_add_ram().
 */
int memory_register(void *address, size_t length);

/** The same of memory that had been refused, by the worker, which is connected. @address, @length: whole pages. */
int memory_register_by_worker(void *address, size_t length);

int memory_change_begin(enum memory_change change, void *address, size_t length, int detail);
void memory_change_end(enum memory_change change, void *address, size_t length, int detail, bool succeeded);

/**
 * In the child of a fork, before anything that it inherited is forgotten. @cut: another thread was inside, whose call
 * may have been made or not. Kernel calls are whole, so a look at the mappings tells.
 */
void memory_after_fork(bool cut);

/** Nothing is taken in any more; who is just doing so has come to an end. Any thread, without the lock. */
void memory_stop_offers(void);
/** In the child of a fork. */
void memory_forget(void);

/**
 * The VMM is about to read from a file into this memory, as its guest's disk does. Pages that map the store would get
 * copies of their own inside that mapping, and those can hardly ever be shared again (docs/design/hold.md); so they
 * become anonymous memory first; so do those that have such copies already, and that it covers wholly. No byte
 * changes, whatever becomes of the read. Leaves errno as it is.
 */
void memory_before_read(const void *address, size_t length);
/**
 * The same, from file @fd; -1: nobody knows. Where it fills pages of the store, what the file is counts from before the
 * read on, however the VMM has come to it: no look by the worker may come between its opening and its closing.
 */
void memory_before_read_from(int fd, const void *address, size_t length);
/**
 * Takes note of pages that a read fills, or is about to (notes.h): the worker looks at them soon. To be called after
 * transfers_begin(), if the read is a transfer. @fd: what is read; -1: nobody knows. No lock; leaves errno as it is.
 */
void memory_note_read(const void *address, size_t length, enum note_kind kind, int fd);
/** Whether any page is in the store, so that a read can matter. Cheap, no lock. */
bool memory_awaits_reads(void);

/**
 * A file was opened or received, before the VMM can use it; @direct: or is about to be given O_DIRECT. Where I/O on it
 * could write memory unseen by a hold, none begins from now on.
 */
void memory_note_file(int fd, bool direct);
/** Memory is about to be given to a device that writes it unseen: vhost-scsi. */
void memory_note_references(void);
/**
 * Memory may be about to be pinned, for longer than one request, in a way that descriptors do not show: buffers or
 * files of a ring are registered.
 */
void memory_note_pins(void);

/** Memory was discarded in a call that nobody told us of: nothing may be shared in this process any more. */
void memory_note_unseen(void);
bool memory_unseen(void);
/**
 * Worker, after that, until it has succeeded: all that is shared becomes anonymous memory of the same content again, or
 * copies of its own; a piece at a time. @return whether nothing reads the store any more.
 */
bool memory_leave_store(void);

/** KVM_SET_CPUID2: a vCPU was given its features. @nests: they let the guest run guests of its own. */
void memory_note_vcpu(bool nests);

#endif
