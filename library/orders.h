/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carrying out one order of the daemon and answering it. Worker thread, without the lock. */
#ifndef PAGEFUSE_LIBRARY_ORDERS_H
#define PAGEFUSE_LIBRARY_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"

struct session;

/** @return 0, or -errno: the session is over. */
int orders_do(struct session *session, const struct ring_record *order);

/** Takes the memory lock, once nobody wants us to pause. */
void orders_lock(void);
/** Whether nothing may be hashed or held now. Memory lock held, as this must not change during a hold. */
bool orders_are_suspended(void);
/** While set, nothing is hashed or held: memory may be written in ways that no hold can see. */
void orders_suspend(bool suspend);

/** Pages hashed so far. */
uint64_t orders_hashed_pages(void);

/** Between these no order touches memory; they nest. Any thread, without the lock. */
void orders_pause(void);
void orders_resume(void);
/** The worker is to end: it waits for no pause any more. Any thread, after session_end_all(). */
void orders_end(void);
/** In the child of a fork, which is its only thread: makes these two usable again. */
void orders_forget(void);

#endif
