/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table: which content is known, by its hash, and where it is.
 *
 * An entry is 8 bytes: 32 bits of the hash (the tag) and a 32-bit reference, whose meaning is the caller's. 8 further
 * bits of the hash choose one of 256 partitions, so that 40 bits tell contents apart; what remains is found out by
 * those who compare bytes. The table knows one reference per (partition, tag).
 *
 * Theory of Operation. A partition is an array in which the entries stand in the order of their tags, each at its home
 * place (tag * capacity / 2^32) or to the right of it with no empty place in between:
 *
 *      home:   0    0         3    3    4
 *            +----+----+----+----+----+----+----+----+
 *            | a  | b  |    | c  | d  | e  |    |    |     tag(a) < tag(b) < ... < tag(e)
 *            +----+----+----+----+----+----+----+----+
 *
 * Since a home follows from the tag alone and order is kept, a partition is rebuilt at any capacity by streaming
 * through it once: it grows by a quarter at a time, is never less than about 70 % full when large, and costs 9 to 11.5
 * bytes per entry. One partition at a time is rebuilt, so that nothing stalls and no second copy of the whole ever
 * exists.
 *
 * Entries may go stale without being removed. So before it grows, a partition asks the owner of a few entries whether
 * they still mean anything, and if one does not, the owner of each: what is stale stays a small part.
 */
#ifndef PAGEFUSE_ENGINE_TABLE_H
#define PAGEFUSE_ENGINE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define TABLE_PARTITIONS 256u

struct table_entry {
	uint32_t tag;
	uint32_t ref; /* 0: an empty place */
};

struct table_key {
	uint32_t tag;
	uint32_t partition;
};

struct table_partition {
	struct table_entry *entries; /* places + 1, the last of which stays empty */
	uint32_t capacity;           /* homes */
	uint32_t places;             /* homes and room to the right of the last one */
	uint32_t count;              /* entries */
};

struct table {
	struct table_partition partitions[TABLE_PARTITIONS];
	bool (*keep)(void *context, struct table_key key, uint32_t ref); /* whether an entry is not stale */
	void *context;
	uint64_t secret[2]; /* set it before the first entry; 0: none */
};

static inline uint64_t table_fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/** VMMs report the hashes and know their seed: who could choose tags could make one place of the table endless. */
static inline struct table_key table_key(const struct table *table, uint64_t hash)
{
	hash = table_fold(hash ^ table->secret[0], table->secret[1] | 1);
	hash = table_fold(hash ^ table->secret[1], table->secret[0] | 1);
	return (struct table_key){ .tag = (uint32_t)(hash >> 32), .partition = (uint32_t)hash % TABLE_PARTITIONS };
}

static inline bool table_key_equal(struct table_key a, struct table_key b)
{
	return a.tag == b.tag && a.partition == b.partition;
}

void table_init(struct table *table, bool (*keep)(void *, struct table_key, uint32_t), void *context);
void table_done(struct table *table);

/** Begins to bring the place of @key into the cache. */
void table_prefetch(const struct table *table, struct table_key key);
/** @return the reference under @key, 0 if there is none. */
uint32_t table_get(const struct table *table, struct table_key key);
/** Enters @ref (not 0) under @key, in place of what was there. @return 0 or -ENOMEM (then nothing has changed). */
int table_put(struct table *table, struct table_key key, uint32_t ref);
/** Removes what is under @key if it is @ref. */
void table_remove(struct table *table, struct table_key key, uint32_t ref);
/** Drops stale entries of one partition. */
void table_sweep(struct table *table, uint32_t partition);

/** Looks at an entry. @return false: it is to be the next one, not now. */
typedef bool table_visitor(void *context, struct table_key key, uint32_t ref);
/**
 * Visits the entries from *@at on, in the order of partitions and tags: of *@most places, which are taken off, or until
 * @visit says false. Then *@at is where to go on, whatever changes until then. @return whether that was all.
 */
bool table_visit(const struct table *table, struct table_key *at, uint32_t *most, table_visitor *visit, void *context);

uint64_t table_count(const struct table *table);
/** Memory in use. */
uint64_t table_bytes(const struct table *table);
/** Verifies order and places. @return NULL or what is wrong. */
const char *table_check(const struct table *table);

#endif
