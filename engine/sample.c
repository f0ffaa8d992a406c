/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/sample.h"

#include <errno.h>

#include "engine/array.h"
#include "engine/pages.h"

int sample_init(struct sample *sample, uint32_t limit, uint32_t shift)
{
	*sample = (struct sample){ .limit = limit, .shift = shift };
	sample->buckets = array_new(limit, sizeof(*sample->buckets));
	sample->contents = array_new(limit, sizeof(*sample->contents));
	sample->records = array_new(limit, sizeof(*sample->records));
	if (sample->buckets && sample->contents && sample->records)
		return 0;
	sample_done(sample);
	return -ENOMEM;
}

void sample_done(struct sample *sample)
{
	array_free(sample->buckets, sample->limit, sizeof(*sample->buckets));
	array_free(sample->contents, sample->limit, sizeof(*sample->contents));
	array_free(sample->records, sample->limit, sizeof(*sample->records));
	*sample = (struct sample){ 0 };
}

bool sample_prepare(struct sample *sample)
{
	if (sample->prepared < sample->limit)
		*(volatile uint32_t *)&sample->buckets[sample->prepared] = 0;
	sample->prepared += SAMPLE_BUCKETS_PER_PAGE;
	return sample->prepared >= sample->limit;
}

uint64_t sample_bytes(const struct sample *sample)
{
	return sample->limit * sizeof(*sample->buckets) + sample->content_count * sizeof(*sample->contents) +
	       sample->record_count * sizeof(*sample->records);
}

/* What a page's state lacks of the key. */
static uint32_t rest_of(struct table_key key)
{
	return key.tag >> READY_TAG_BITS << 8 | key.partition;
}

/* The lowest bits are the same in all of the sample. */
static uint32_t *bucket_of(const struct sample *sample, uint32_t check)
{
	return &sample->buckets[(check >> sample->shift) % sample->limit];
}

static struct sample_content *new_content(struct sample *sample, uint32_t check, uint32_t rest)
{
	uint32_t *bucket = bucket_of(sample, check);
	struct sample_content *content;

	if (sample->content_count == sample->limit)
		return NULL;
	content = &sample->contents[sample->content_count++];
	*content = (struct sample_content){ .next = *bucket, .check = check, .rest = rest };
	*bucket = sample->content_count;
	return content;
}

/* Counts a page of @row, which is the newest one. */
static bool count_page(struct sample *sample, struct sample_content *content, uint32_t row, bool mapped)
{
	struct sample_record *record;

	if (content->first == 0 || sample->records[content->first - 1].row != row) {
		if (sample->record_count == sample->limit)
			return false;
		sample->records[sample->record_count++] =
			(struct sample_record){ .next = content->first, .row = row };
		content->first = sample->record_count;
	}
	record = &sample->records[content->first - 1];
	record->mapped += mapped;
	record->own += !mapped;
	return true;
}

bool sample_add_hint(struct sample *sample, struct table_key key, uint32_t global)
{
	struct sample_content *content = new_content(sample, check_of(key.tag), rest_of(key));

	if (content == NULL)
		return false;
	content->hint = global;
	return true;
}

bool sample_add(struct sample *sample, uint32_t row, struct table_key key, bool mapped)
{
	uint32_t check = check_of(key.tag), rest = rest_of(key);
	struct sample_content *found = NULL, *content;

	for (uint32_t next = *bucket_of(sample, check); next > 0; next = content->next) {
		content = &sample->contents[next - 1];
		if (content->check == check && (content->rest == rest || content->rest == SAMPLE_NONE))
			found = content;
		if (content->check == check && content->rest == rest)
			break;
	}
	if (found == NULL)
		found = new_content(sample, check, rest);
	if (found == NULL)
		return false;
	found->rest = rest; /* if it was not known */
	return count_page(sample, found, row, mapped);
}

bool sample_add_check(struct sample *sample, uint32_t row, uint32_t check, uint32_t global)
{
	struct sample_content *found = NULL, *content;

	for (uint32_t next = *bucket_of(sample, check); next > 0; next = content->next) {
		content = &sample->contents[next - 1];
		if (content->check == check && (found == NULL || (global != 0 && content->hint == global)))
			found = content;
	}
	if (found == NULL)
		found = new_content(sample, check, SAMPLE_NONE);
	return found != NULL && count_page(sample, found, row, false);
}
