/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much is done in one turn of the event loop. The loop is one thread, and other connections wait during a turn. So
 * everything in a turn has a bound, a constant beside its code; this counts what turns really did.
 */
#ifndef PAGEFUSE_DAEMON_TURN_H
#define PAGEFUSE_DAEMON_TURN_H

#include <stdint.h>
#include <systemd/sd-event.h>

enum turn_work {
	TURN_REPORTS, /* taken in; a region that comes or goes counts as PUMP_REGION_REPORTS, ADOPT as its pages */
	TURN_ORDERS,  /* passed on */
	TURN_PACKETS, /* received */
	TURN_ITEMS,   /* put into replies by the loop, or sampled: tickets, names, metrics */
	TURN_STEPS,   /* of engines, see engine_take_steps() */
	TURN_WORK_END
};

/** Runs @event until it is left, and counts. @return its exit code or -errno. */
int turn_loop(sd_event *event);

/** So much was done, in this turn. */
void turn_note(enum turn_work work, uint64_t count);

/** CPU time of this turn so far. */
uint64_t turn_cpu_usec(void);

/** The most that was done in one turn, so far; and the longest that one took, by the clock and of CPU time. */
uint64_t turn_most(enum turn_work work);
uint64_t turn_longest_usec(void);
uint64_t turn_longest_cpu_usec(void);

#endif
