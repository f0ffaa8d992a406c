/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the links of a domain's VMs and its engine: reports come in, orders go out, time goes by. */
#ifndef PAGEFUSE_DAEMON_PUMP_H
#define PAGEFUSE_DAEMON_PUMP_H

#include <stdbool.h>

#include "daemon/domain.h"
#include "daemon/link.h"
#include "daemon/vm.h"

#define PUMP_REPORTS_PER_TURN 2048
#ifndef PUMP_ORDERS_PER_TURN
#define PUMP_ORDERS_PER_TURN 16384u /* of all VMs of a domain; to one that is served by itself, its ring's room */
#endif
/* A packet, which wakes the VMM, counts as so many orders; a segment that is opened and sent, as two packets. */
#define PUMP_PACKET_ORDERS 128u
#define PUMP_STALLED_ORDERS 8u /* for each VM whose link still holds an order back */
/* With the last VM that is served, to which also a doorbell, a segment and some SEGMENT_CLOSE are sent. */
#define PUMP_ORDERS_MOST (PUMP_ORDERS_PER_TURN + (LINK_CLOSES_AT_ONCE + 3u) * PUMP_PACKET_ORDERS)
/* A region that comes or goes counts as so many: it may have terabytes. ADOPT and SAME count as their pages. */
#define PUMP_REGION_REPORTS 128
#define PUMP_ZEROS_PER_REPORT 8u /* so many pages full of zeros count as one */

/** Starts the engine's clock; domain_close() stops it. @return 0 or -errno. */
int pump_start(struct domain *domain);

/**
 * Feeds at most PUMP_REPORTS_PER_TURN reports of @vm, which is connected, to the engine. May fail its link.
 * @ret_usec: its user has sent too many: none is taken before that time, by clock_now_usec(); else 0.
 * @return whether there may be more.
 */
bool pump_take_reports(struct daemon_vm *vm, uint64_t *ret_usec);

/** Copies what the worker of @vm, which is connected, says of itself to vm->stats. */
void pump_take_statistics(struct daemon_vm *vm);

/** Passes on orders for @vm, which is connected, while there is room. May fail its link. */
void pump_give_orders(struct daemon_vm *vm);

/**
 * @vm, which is connected, has closed the descriptor of @segment (its words) and asks for it again: as
 * pump_give_orders(), with that first, if it was given to it before.
 */
void pump_want_segment(struct daemon_vm *vm, uint32_t segment);

#endif
