/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rings of ring.h. See its Theory of Operation. */
#include "protocol/ring.h"

#include <errno.h>
#include <stdatomic.h>

_Static_assert((RING_UP_RECORDS & (RING_UP_RECORDS - 1)) == 0, "ring sizes are powers of two");
_Static_assert((RING_DOWN_RECORDS & (RING_DOWN_RECORDS - 1)) == 0, "ring sizes are powers of two");

static struct ring_end end_of(struct ring_cursors *cursors, void *records, uint32_t size, uint32_t mine)
{
	return (struct ring_end){ .cursors = cursors, .records = records, .size = size, .mine = mine };
}

void ring_attach_worker(void *base, struct ring_end *ret_up, struct ring_end *ret_down)
{
	struct ring_page *page = base;

	*ret_up = end_of(&page->up, (char *)base + RING_UP_OFFSET, RING_UP_RECORDS, 0);
	*ret_down = end_of(&page->down, (char *)base + RING_DOWN_OFFSET, RING_DOWN_RECORDS, 0);
}

void ring_attach_daemon(void *base, struct ring_end *ret_up, struct ring_end *ret_down)
{
	/* Both sides begin at zero in fresh memory; which end is which is a matter of the functions called. */
	ring_attach_worker(base, ret_up, ret_down);
}

int ring_room(struct ring_end *producer)
{
	/* Acquire: the consumer has copied a record out before it gave the place back. */
	uint32_t head = atomic_load_explicit(&producer->cursors->head, memory_order_acquire);
	uint32_t used = producer->mine - head;

	return used > producer->size ? -EPROTO : (int)(producer->size - used);
}

void ring_put(struct ring_end *producer, const struct ring_record *record)
{
	producer->records[producer->mine & (producer->size - 1)] = *record;
	producer->mine++;
}

bool ring_publish(struct ring_end *producer)
{
	/* Release: pairs with the acquire of tail in ring_get(). The fence pairs with the one in ring_set_waiting(). */
	atomic_store_explicit(&producer->cursors->tail, producer->mine, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&producer->cursors->waiting, memory_order_relaxed) != 0;
}

void ring_set_starved(struct ring_end *producer, bool starved)
{
	atomic_store_explicit(&producer->cursors->starved, starved, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with ring_release() */
}

int ring_get(struct ring_end *consumer, struct ring_record *ret_record)
{
	uint32_t tail = atomic_load_explicit(&consumer->cursors->tail, memory_order_acquire);
	uint32_t filled = tail - consumer->mine;

	if (filled > consumer->size)
		return -EPROTO;
	if (filled == 0)
		return 0;
	*ret_record = consumer->records[consumer->mine & (consumer->size - 1)];
	/* The other side may be writing here: what was copied is what gets checked and used. */
	atomic_signal_fence(memory_order_seq_cst);
	consumer->mine++;
	return 1;
}

bool ring_release(struct ring_end *consumer)
{
	atomic_store_explicit(&consumer->cursors->head, consumer->mine, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with ring_set_starved() */
	return atomic_load_explicit(&consumer->cursors->starved, memory_order_relaxed) != 0;
}

void ring_set_waiting(struct ring_end *consumer, bool waiting)
{
	atomic_store_explicit(&consumer->cursors->waiting, waiting, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with ring_publish() */
}

static int check_run(const struct ring_record *record, uint32_t longest, unsigned flags)
{
	if ((record->flags & ~flags) != 0 || record->page == 0 || record->count == 0 || record->count > longest)
		return -EPROTO;
	if (record->count - 1u > UINT32_MAX - record->page)
		return -EPROTO;
	return 0;
}

int ring_check_report(const struct ring_record *record)
{
	switch (record->op) {
	case REPORT_READY:
		return record->flags == 0 ? 0 : -EPROTO;
	case REPORT_REGION_ADD:
		if (record->value == 0 || record->page == 0 || record->value > UINT32_MAX - record->page)
			return -EPROTO;
		return check_run(record, RING_BLOCK_PAGES, 0);
	case REPORT_REGION_REMOVE:
		return check_run(record, 1, 0);
	case REPORT_HASH:
		return check_run(record, 1, RING_PRIVATE_COPY | RING_INSIDE_HUGE | RING_NOTED);
	case REPORT_FETCHED:
		return record->value < RING_STAGING_PAGES ? check_run(record, 1, RING_PRIVATE_COPY) : -EPROTO;
	case REPORT_SCANNED:
		return record->value <= UINT32_MAX ? check_run(record, RING_SCAN_PAGES_MAX, 0) : -EPROTO;
	case REPORT_ADOPT:
	case REPORT_ADOPT_ZERO:
	case REPORT_MERGED:
	case REPORT_ZEROED:
	case REPORT_UNSHARED:
		return check_run(record, RING_RUN_PAGES_MAX, 0);
	case REPORT_BROKEN:
		return check_run(record, 1, 0);
	case REPORT_WHOLE:
		return record->value < WHOLE_END ? check_run(record, RING_BLOCK_PAGES, 0) : -EPROTO;
	case REPORT_ZERO:
		return check_run(record, RING_RUN_PAGES_MAX, RING_PRIVATE_COPY | RING_INSIDE_HUGE | RING_NOTED);
	case REPORT_BUSY:
	case REPORT_SAME:
		return check_run(record, RING_RUN_PAGES_MAX, RING_PRIVATE_COPY | RING_INSIDE_HUGE);
	case REPORT_SOURCE:
		if (record->value == 0 || record->value > RING_IMAGES_MAX)
			return -EPROTO;
		return check_run(record, RING_RUN_PAGES_MAX, 0);
	case REPORT_DIFFERS:
	case REPORT_GONE:
	case REPORT_FULL:
	case REPORT_DIVERGED:
		return check_run(record, RING_RUN_PAGES_MAX, RING_PRIVATE_COPY);
	default:
		return -EPROTO;
	}
}

int ring_check_order(const struct ring_record *record)
{
	switch (record->op) {
	case ORDER_SCAN:
		return check_run(record, RING_SCAN_PAGES_MAX, RING_MAY_SAMPLE);
	case ORDER_SCAN_ZERO:
	case ORDER_AUDIT:
		return check_run(record, RING_SCAN_PAGES_MAX, 0);
	case ORDER_FETCH:
		return check_run(record, 1, 0);
	case ORDER_MERGE:
	case ORDER_ZERO:
		return check_run(record, RING_RUN_PAGES_MAX, RING_MAY_SPLIT);
	case ORDER_UNSHARE:
		return check_run(record, RING_RUN_PAGES_MAX, 0);
	case ORDER_WHOLE:
		return record->value <= RING_BLOCK_PAGES ? check_run(record, RING_BLOCK_PAGES, RING_COLLAPSE) : -EPROTO;
	case ORDER_NOTES:
		return record->value <= 1 ? check_run(record, 1, 0) : -EPROTO;
	default:
		return -EPROTO;
	}
}
