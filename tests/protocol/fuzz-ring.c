/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rings: the input is written by a hostile peer over cursors and records. What is read never lies outside the ring,
 * never goes on without end, and what the checks let through keeps its promises.
 *
 *   input: head (4 bytes), tail (4 bytes), then records
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/ring.h"
#include "tests/support/fuzz.h"

static void check_record(const struct ring_record *record)
{
	int report = ring_check_report(record), order = ring_check_order(record);

	must(report == 0 || report == -EPROTO);
	must(order == 0 || order == -EPROTO);
	must(report < 0 || order < 0); /* no op is both */
	if (report < 0 && order < 0)
		return;
	must((record->flags & ~(order < 0 ? RING_PRIVATE_COPY | RING_INSIDE_HUGE : RING_MAY_SPLIT)) == 0);
	if (record->op == REPORT_READY)
		return;
	must(record->page != 0 && record->count != 0 && record->count <= RING_SCAN_PAGES_MAX);
	must(record->page + (record->count - 1u) >= record->page);
	if (record->op == REPORT_FETCHED)
		must(record->value < RING_STAGING_PAGES);
	if (record->op == REPORT_REGION_ADD)
		must(record->value > 0 && record->page + record->value <= UINT32_MAX);
}

static void consume(struct ring_end *consumer)
{
	struct ring_record record;
	uint32_t taken = 0;
	int r;

	while ((r = ring_get(consumer, &record)) == 1) {
		must(taken++ < consumer->size);
		check_record(&record);
	}
	must(r == 0 || r == -EPROTO);
	(void)ring_release(consumer);
}

static void produce(struct ring_end *producer)
{
	const struct ring_record record = { .op = REPORT_READY };
	int room = ring_room(producer);

	must(room == -EPROTO || (room >= 0 && (uint32_t)room <= producer->size));
	for (int i = 0; i < room; i++)
		ring_put(producer, &record);
	(void)ring_publish(producer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ring_page *page;
	struct ring_end up, down;
	uint32_t cursors[2];

	if (size < sizeof(cursors))
		return 0;
	memcpy(cursors, data, sizeof(cursors));
	data += sizeof(cursors);
	size -= sizeof(cursors);
	page = aligned_alloc(PAGE_BYTES, RING_BYTES);
	must(page != NULL);
	memset(page, 0, RING_STAGING_OFFSET);
	ring_attach_daemon(page, &up, &down);
	if (size > RING_UP_RECORDS * sizeof(*up.records))
		size = RING_UP_RECORDS * sizeof(*up.records);
	memcpy(up.records, data, size);
	atomic_store(&up.cursors->tail, cursors[1]);
	atomic_store(&down.cursors->head, cursors[0]);
	consume(&up);
	produce(&down);
	free(page);
	return 0;
}
