/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which VMs have which contents, for an estimate: of all contents, or of one in 2^shift where there are more than fit.
 * A content is in the sample by its checksum, so all pages that have it are, or none.
 *
 *   buckets[checksum] --> content: key -+-> content ...
 *                                       |
 *                                       +-> record: row, pages that map it, other pages --> record ...
 *
 * A VM is a row, a number below SAMPLE_ROWS. Its pages are added one VM after the other, so a content's first record is
 * of the VM at hand, or of one before. The page's checksum, 28 bits, is known of each, the other 12 bits of the key of
 * most: a page of which they are not is taken to have the first content with its checksum.
 */
#ifndef PAGEFUSE_ENGINE_SAMPLE_H
#define PAGEFUSE_ENGINE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/table.h"

#define SAMPLE_ROWS 65535u
#define SAMPLE_BUCKETS_PER_PAGE 1024u /* of memory */
#define SAMPLE_NONE UINT32_MAX        /* no content, no record */

struct sample_content {
	uint32_t next;  /* in its bucket: index + 1 */
	uint32_t first; /* record: index + 1, 0: nobody has it (yet) */
	uint32_t hint;  /* the global number of the page that the table names for it, or 0 */
	uint32_t check;
	uint32_t rest; /* of the key, or SAMPLE_NONE */
};

struct sample_record {
	uint32_t next; /* of the same content: index + 1 */
	uint32_t row;
	uint32_t mapped, own; /* pages that map a slot with it; private ones */
};

struct sample {
	uint32_t limit; /* contents, and records */
	uint32_t shift;
	uint32_t content_count, record_count;
	uint32_t prepared; /* buckets, see sample_prepare() */
	uint32_t *buckets; /* as many as limit: content, index + 1 */
	struct sample_content *contents;
	struct sample_record *records;
};

/** An empty one of at most @limit contents and records, of one content in 2^@shift. @return 0, -ENOMEM. */
int sample_init(struct sample *sample, uint32_t limit, uint32_t shift);
void sample_done(struct sample *sample);
/**
 * Has a page more of the buckets take memory: as they are used all over, the first contents would cost a fault each.
 * @return whether all have.
 */
bool sample_prepare(struct sample *sample);
/** Memory in use. */
uint64_t sample_bytes(const struct sample *sample);

/** Whether the sample includes contents with the checksum @check. Others must not be added. */
static inline bool sample_wants(const struct sample *sample, uint32_t check)
{
	return (~check & ((UINT32_C(1) << sample->shift) - 1)) == 0;
}

/** The table has a hint of page @global under @key. @return false: it is full. */
bool sample_add_hint(struct sample *sample, struct table_key key, uint32_t global);

/** A VM's page has the content under @key; @mapped: the page maps a slot with it. @return false: the sample is full. */
bool sample_add(struct sample *sample, uint32_t row, struct table_key key, bool mapped);
/**
 * A private page has a content with the checksum @check; its key is that of the hint of page @global, unless that is 0
 * or there is none. @return false: it is full.
 */
bool sample_add_check(struct sample *sample, uint32_t row, uint32_t check, uint32_t global);

#endif
