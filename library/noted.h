/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker looks at pages that the VMM has read into (notes.h) soon after the read, and reports them to the daemon.
 * Worker thread, without the lock.
 */
#ifndef PAGEFUSE_LIBRARY_NOTED_H
#define PAGEFUSE_LIBRARY_NOTED_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/wire.h"

struct session;

/** A session begins for a VM in @mode, or has ended: notes are made, and kept, but not reported. */
void noted_begin(enum wire_mode mode);
void noted_end(void);
/** The daemon has ordered that noted pages be reported, or that no notes be made. */
void noted_want(bool want);

/**
 * An order to merge a page, or to give it back, has been carried out. If the order came because the page had been
 * noted, and the page was @busy, the worker looks at it once more. Memory lock held.
 */
void noted_ended(uint32_t page, bool busy);

/** If a look is due, hashes a bounded number of noted pages, and posts the reports. @return 0 or -errno. */
int noted_look(struct session *session);
/** How long the worker may sleep until a look is due: @most at most. To be called right before it sleeps. */
int noted_patience_msec(int most);

/** Notes taken so far, and pages hashed for them or found full of zeros. */
void noted_stats(uint64_t *ret_notes, uint64_t *ret_hashed);

#endif
