/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What has been named of which file, so that only what has changed is named again. A table of fixed size: 16 bytes for
 * a file, 1 MiB in all.
 */
#ifndef PAGEFUSE_AGENT_SENT_H
#define PAGEFUSE_AGENT_SENT_H

#include <stdbool.h>
#include <stdint.h>

#define SENT_FILES_MAX 65536

struct sent_file {
	uint64_t key;       /* 0: free */
	uint32_t signature; /* of which of its pages were cached */
	uint16_t module;
	uint16_t walk; /* in which it was met last */
};

struct sent {
	struct sent_file *files; /* SENT_FILES_MAX */
	uint16_t walk;
};

/** @return 0, -ENOMEM. */
int sent_init(struct sent *sent);
void sent_done(struct sent *sent);

/** Nothing has been named. */
void sent_clear(struct sent *sent);

/** A walk over all files begins: what the one before last has not met may make room. */
void sent_begin(struct sent *sent);

/** The entry of file @key, or NULL if there is none. @ret_met: whether this walk has met it already. */
struct sent_file *sent_find(struct sent *sent, uint64_t key, bool *ret_met);

/** A new entry for @key, which has none, with signature 0. @return NULL if there is no room. */
struct sent_file *sent_add(struct sent *sent, uint64_t key);

/** A key or signature of @words; never 0. */
uint64_t sent_mix(const uint64_t *words, unsigned count);

#endif
