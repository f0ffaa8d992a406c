/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries out one order of the daemon, and answers it. Worker thread, without the lock. */
#ifndef PAGEFUSE_LIBRARY_ORDERS_H
#define PAGEFUSE_LIBRARY_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"

struct session;

/** @return 0, or -errno: the session is over. */
int orders_do(struct session *session, const struct ring_record *order);

/** Takes the memory lock as soon as there is no pause. */
void orders_lock(void);
/** Whether nothing may be hashed or held now. Memory lock held, as this must not change during a hold. */
bool orders_are_suspended(void);
/** While set, nothing is hashed or held: memory may be written in ways that no hold can see. */
void orders_suspend(bool suspend);

/** Pages hashed so far. */
uint64_t orders_hashed_pages(void);

/** Between these two calls no order touches memory; they nest. Any thread, without the lock. */
void orders_pause(void);
void orders_resume(void);
/** The worker is about to end, and no longer waits for pauses. Any thread, after session_end_all(). */
void orders_end(void);
/** In the only thread of a forked child: makes pause and resume usable again. */
void orders_forget(void);

#endif
