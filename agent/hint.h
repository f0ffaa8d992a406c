/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passed from the code that finds pages (look.h) to the code that uses them (session.h, dry-run.h). */
#ifndef PAGEFUSE_AGENT_HINT_H
#define PAGEFUSE_AGENT_HINT_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/agent.h"

#define HINT_PAGES_MAX 128 /* pages of one hint */

/** Pages of a module that are in memory. */
struct hint {
	uint32_t module;
	uint64_t place;       /* of the first page in its module */
	unsigned pages;       /* up to HINT_PAGES_MAX */
	const uint64_t *pfns; /* of each page; 0: not in memory */
	void *mapping;        /* keeps these pages in their place; NULL: they stay by themselves */
	size_t mapping_bytes;
};

/** All return 0 or an error that ends the pass, which is passed on. */
struct hint_sink {
	/** A number for the module @label, a file's path for instance. @label need not be fit for the wire. */
	int (*module)(struct hint_sink *sink, enum agent_kind kind, const char *label, uint32_t *ret_module);
	/** Waits until pages can be taken, and says in @ret_pages how many, at least one and @pages at most. */
	int (*room)(struct hint_sink *sink, unsigned pages, unsigned *ret_pages);
	/** Takes over the mapping, in any case. There has to be room for the pages. Does not wait for the host. */
	int (*take)(struct hint_sink *sink, const struct hint *hint);
	/** Called now and then, for what else there is to do. */
	int (*turn)(struct hint_sink *sink);
};

#endif
