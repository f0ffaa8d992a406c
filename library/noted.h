/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the worker does about pages that the VMM has read into (notes.h): it looks at them soon after, and tells the
 * daemon of them. Worker thread, without the lock.
 */
#ifndef PAGEFUSE_LIBRARY_NOTED_H
#define PAGEFUSE_LIBRARY_NOTED_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/wire.h"

struct session;

/** A session begins for a VM in @mode, or has ended: notes are taken, and kept, but nothing is told. */
void noted_begin(enum wire_mode mode);
void noted_end(void);
/** The daemon has ordered that it be told of them, or that no notes be taken. */
void noted_want(bool want);

/**
 * An order to merge a page, or to give it back, has been carried out. If it was ordered because the page had been
 * noted, and that was @busy, it is looked at once more. Memory lock held.
 */
void noted_ended(uint32_t page, bool busy);

/** If it is time to, hashes noted pages, a bounded number, and posts what there is to tell. @return 0 or -errno. */
int noted_look(struct session *session);
/** How long the worker may sleep until that is due: @most at most. Right before it does. */
int noted_patience_msec(int most);

/** Notes taken so far, and pages hashed for them or found full of zeros. */
void noted_stats(uint64_t *ret_notes, uint64_t *ret_hashed);

#endif
