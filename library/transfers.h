/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest RAM that system calls of the VMM are reading or writing now: read(), send() and the like.
 *
 * A thread that touches a held page in user mode sleeps and can be stopped (SIGSTOP, a debugger, the freezer). A thread
 * that touches it inside such a call cannot be stopped until the hold is over, and the hold does not end as long as the
 * worker is stopped, too. So memory that is being transferred is not held, and a call that begins during a hold waits
 * for its end before it enters the kernel.
 */
#ifndef PAGEFUSE_LIBRARY_TRANSFERS_H
#define PAGEFUSE_LIBRARY_TRANSFERS_H

#include <stddef.h>
#include <stdint.h>

#define TRANSFERS_MAX 64

/**
 * A system call is about to read or write this memory. Any thread that is not inside (memory_is_inside()); may wait for
 * the memory lock; leaves errno as it is. @return a mask for transfers_end(), of which several can be joined; 0 if this
 * is not guest RAM, or no more transfers can be noted.
 */
uint64_t transfers_begin(const void *address, size_t length);
/** The system call has returned. No lock, no system call. */
void transfers_end(uint64_t transfers);
/** The pages of [start, start + @count pages), at most 64, that are being transferred now: a mask. Worker. */
uint64_t transfers_touch(uint64_t start, unsigned count);

/**
 * A hold of @count pages (64 at most) from @start on is about to begin. Memory lock held. @return mask of the pages
 * that must not be held now.
 */
uint64_t transfers_hold_begin(uint64_t start, unsigned count);
void transfers_hold_end(void);

#endif
