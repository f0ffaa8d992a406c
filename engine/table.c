/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of table.h. See its Theory of Operation. */
#include "engine/table.h"

#include <errno.h>
#include <string.h>

#include "engine/array.h"

#define TABLE_CAPACITY_MIN 56u
#define STALE_LOOKS 32u /* a tenth that is stale is seen by them 29 times out of 30 */

/* A partition is rebuilt when more than 7/8 of its homes have an entry. */
static bool is_full(uint32_t count, uint32_t capacity)
{
	return (uint64_t)count * 8 > (uint64_t)capacity * 7;
}

/* Sweeping was enough if a fifth of what there may be is free again. */
static bool is_roomy(uint32_t count, uint32_t capacity)
{
	return (uint64_t)count * 10 <= (uint64_t)capacity * 7;
}

static bool is_sparse(uint32_t count, uint32_t capacity)
{
	return (uint64_t)count * 3 < capacity;
}

void table_init(struct table *table, bool (*keep)(void *, struct table_key, uint32_t), void *context)
{
	memset(table, 0, sizeof(*table));
	table->keep = keep;
	table->context = context;
}

static void drop_array(struct table_partition *part)
{
	if (part->entries != NULL)
		array_free(part->entries, (size_t)part->places + 1, sizeof(struct table_entry));
}

void table_done(struct table *table)
{
	for (uint32_t i = 0; i < TABLE_PARTITIONS; i++)
		drop_array(&table->partitions[i]);
	memset(table->partitions, 0, sizeof(table->partitions));
}

static uint32_t home_of(uint32_t tag, uint32_t capacity)
{
	return (uint32_t)(((uint64_t)tag * capacity) >> 32);
}

/* The place of @tag's entry, or where it would have to go. */
static uint32_t seek(const struct table_partition *part, uint32_t tag)
{
	const struct table_entry *entries = part->entries;
	uint32_t at = home_of(tag, part->capacity);

	while (entries[at].ref != 0 && entries[at].tag < tag)
		at++;
	return at;
}

static bool is_at(const struct table_partition *part, uint32_t at, uint32_t tag)
{
	return part->entries[at].ref != 0 && part->entries[at].tag == tag;
}

void table_prefetch(const struct table *table, struct table_key key)
{
	const struct table_partition *part = &table->partitions[key.partition];

	if (part->count > 0)
		__builtin_prefetch(&part->entries[home_of(key.tag, part->capacity)]);
}

uint32_t table_get(const struct table *table, struct table_key key)
{
	const struct table_partition *part = &table->partitions[key.partition];
	uint32_t at;

	if (part->count == 0)
		return 0;
	at = seek(part, key.tag);
	return is_at(part, at, key.tag) ? part->entries[at].ref : 0;
}

/* Streams all entries into an array with @capacity homes. */
static int resize(struct table_partition *part, uint32_t capacity)
{
	struct table_partition fresh = {
		.capacity = capacity,
		.places = capacity + capacity / 64 + 32,
		.count = part->count,
	};
	uint32_t at = 0;

	fresh.entries = array_new((size_t)fresh.places + 1, sizeof(struct table_entry));
	if (fresh.entries == NULL)
		return -ENOMEM;
	for (uint32_t from = 0; from < part->places; from++) {
		struct table_entry entry = part->entries[from];
		uint32_t home;

		if (entry.ref == 0)
			continue;
		home = home_of(entry.tag, capacity);
		at = at > home ? at : home;
		if (at >= fresh.places) { /* only if somebody could choose tags, which the secret prevents */
			drop_array(&fresh);
			return -ENOMEM;
		}
		fresh.entries[at++] = entry;
	}
	drop_array(part);
	*part = fresh;
	return 0;
}

static int grow(struct table_partition *part)
{
	uint64_t capacity = part->capacity ? (uint64_t)part->capacity * 5 / 4 : TABLE_CAPACITY_MIN;

	return capacity > UINT32_MAX / 2 ? -ENOMEM : resize(part, (uint32_t)capacity);
}

/* Drops stale entries, and moves what remains as far left as its home allows. */
static void sweep(struct table *table, uint32_t index)
{
	struct table_partition *part = &table->partitions[index];
	uint32_t at = 0;

	for (uint32_t from = 0; from < part->places; from++) {
		struct table_entry entry = part->entries[from];
		uint32_t home;

		if (entry.ref == 0)
			continue;
		part->entries[from].ref = 0;
		if (!table->keep(table->context, (struct table_key){ entry.tag, index }, entry.ref)) {
			part->count--;
			continue;
		}
		home = home_of(entry.tag, part->capacity);
		at = at > home ? at : home; /* never right of where it was: less is in front of it than before */
		part->entries[at++] = entry;
	}
}

void table_sweep(struct table *table, uint32_t partition)
{
	struct table_partition *part = &table->partitions[partition];

	sweep(table, partition);
	if (is_sparse(part->count, part->capacity) && part->capacity > 2 * TABLE_CAPACITY_MIN)
		resize(part, part->count * 3 / 2 + TABLE_CAPACITY_MIN); /* without memory it stays as it is */
}

/* Whether one of a few entries is stale. If none is, what a sweep would drop is not worth a look at all of them. */
static bool is_stale(const struct table *table, uint32_t index)
{
	const struct table_partition *part = &table->partitions[index];

	for (uint32_t i = 0; i < STALE_LOOKS; i++) {
		const struct table_entry *entry = &part->entries[(uint64_t)part->places * i / STALE_LOOKS];

		if (entry->ref != 0 &&
		    !table->keep(table->context, (struct table_key){ entry->tag, index }, entry->ref))
			return true;
	}
	return false;
}

/* Makes room for one more: by dropping what is stale, or else by growing. */
static int make_room(struct table *table, uint32_t index)
{
	struct table_partition *part = &table->partitions[index];

	if (part->count > 0 && is_stale(table, index))
		sweep(table, index);
	if (part->capacity > 0 && is_roomy(part->count, part->capacity))
		return 0;
	return grow(part);
}

int table_put(struct table *table, struct table_key key, uint32_t ref)
{
	struct table_partition *part = &table->partitions[key.partition];
	uint32_t at, empty;
	int r;

	if (part->count > 0) {
		at = seek(part, key.tag);
		if (is_at(part, at, key.tag)) {
			part->entries[at].ref = ref;
			return 0;
		}
	}
	if (is_full(part->count + 1, part->capacity)) {
		r = make_room(table, key.partition);
		if (r < 0 && part->count + 1 > part->capacity)
			return r;
	}
	for (;;) {
		at = empty = seek(part, key.tag);
		while (part->entries[empty].ref != 0)
			empty++;
		if (empty < part->places)
			break;
		r = grow(part);
		if (r < 0)
			return r;
	}
	memmove(&part->entries[at + 1], &part->entries[at], (size_t)(empty - at) * sizeof(struct table_entry));
	part->entries[at] = (struct table_entry){ .tag = key.tag, .ref = ref };
	part->count++;
	return 0;
}

void table_remove(struct table *table, struct table_key key, uint32_t ref)
{
	struct table_partition *part = &table->partitions[key.partition];
	uint32_t at, end;

	if (part->count == 0)
		return;
	at = seek(part, key.tag);
	if (!is_at(part, at, key.tag) || part->entries[at].ref != ref)
		return;
	for (end = at + 1; part->entries[end].ref != 0; end++)
		if (home_of(part->entries[end].tag, part->capacity) == end)
			break;
	memmove(&part->entries[at], &part->entries[at + 1], (size_t)(end - at - 1) * sizeof(struct table_entry));
	part->entries[end - 1].ref = 0;
	part->count--;
}

/* The first tag whose home is @place or to the right of it; there is one. */
static uint32_t first_tag(uint32_t place, uint32_t capacity)
{
	return (uint32_t)((((uint64_t)place << 32) + capacity - 1) / capacity);
}

/* table_visit() inside one partition. @return whether nothing is left of it. */
static bool visit_partition(const struct table *table, struct table_key *at, uint32_t *most, table_visitor *visit,
			    void *context)
{
	const struct table_partition *part = &table->partitions[at->partition];
	uint32_t place = part->count > 0 ? seek(part, at->tag) : part->places;

	for (; place < part->places; place++, --*most) {
		const struct table_entry *entry = &part->entries[place];

		if (entry->ref != 0)
			at->tag = entry->tag;
		else if (place >= part->capacity)
			break; /* what comes behind has its home before: there is none */
		else if (first_tag(place, part->capacity) > at->tag)
			at->tag = first_tag(place, part->capacity); /* all that have theirs before were visited */
		if (*most == 0 || (entry->ref != 0 && !visit(context, *at, entry->ref)))
			return false;
	}
	return true;
}

bool table_visit(const struct table *table, struct table_key *at, uint32_t *most, table_visitor *visit, void *context)
{
	while (at->partition < TABLE_PARTITIONS) {
		if (!visit_partition(table, at, most, visit, context))
			return false;
		*at = (struct table_key){ .partition = at->partition + 1 };
	}
	return true;
}
uint64_t table_count(const struct table *table)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < TABLE_PARTITIONS; i++)
		count += table->partitions[i].count;
	return count;
}

uint64_t table_bytes(const struct table *table)
{
	uint64_t places = 0;

	for (uint32_t i = 0; i < TABLE_PARTITIONS; i++)
		places += table->partitions[i].places;
	return places * sizeof(struct table_entry);
}

static const char *check_partition(const struct table_partition *part)
{
	uint32_t count = 0, next = 0;
	const struct table_entry *last = NULL;

	for (uint32_t at = 0; at < part->places; at++) {
		const struct table_entry *entry = &part->entries[at];
		uint32_t home = home_of(entry->tag, part->capacity);

		if (entry->ref == 0) {
			next = at + 1;
			continue;
		}
		if (last != NULL && entry->tag <= last->tag)
			return "table: entries are out of order";
		if (at < home || home < next)
			return "table: an entry cannot be found from its home";
		last = entry;
		count++;
	}
	if (part->entries != NULL && part->entries[part->places].ref != 0)
		return "table: the last place is not empty";
	return count == part->count ? NULL : "table: wrong count";
}

const char *table_check(const struct table *table)
{
	const char *wrong = NULL;

	for (uint32_t i = 0; i < TABLE_PARTITIONS && wrong == NULL; i++)
		wrong = check_partition(&table->partitions[i]);
	return wrong;
}
