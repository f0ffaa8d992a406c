/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between a session's rings and the engine. */
#ifndef PAGEFUSE_DAEMON_PUMP_H
#define PAGEFUSE_DAEMON_PUMP_H

#include <stdbool.h>

#include "daemon/session.h"

#define PUMP_REPORTS_PER_TURN 2048
#define PUMP_REGION_REPORTS 128 /* a region that comes or goes counts as so many: it can be of terabytes */

/** Creates the session's ring. @return 0 or -errno. */
int pump_init(struct session *session);
void pump_done(struct session *session);

/**
 * Feeds at most PUMP_REPORTS_PER_TURN reports to the engine. May fail the session.
 * @return whether there may be more.
 */
bool pump_take_reports(struct session *session);

/** Copies what the worker says of itself to the session's process. */
void pump_take_statistics(struct session *session);

/**
 * It has closed the descriptor of a segment and asks for it again: sends it, now or when there is room in the socket,
 * if it is one that it was given before. May fail the session.
 */
void pump_want_segment(struct session *session, uint32_t segment);

/** Passes on orders while there is room in the ring and, for descriptors, in the socket. May fail the session. */
void pump_give_orders(struct session *session);

#endif
