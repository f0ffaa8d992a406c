/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of random.c: memory that is there twice. One is a VMM's RAM and what lies around it, to which everything is
 * done as the VMM does it; its twin is known to nobody, and the same is done to that past the preload.
 */
#ifndef PAGEFUSE_TESTS_PRELOAD_RANDOM_H
#define PAGEFUSE_TESTS_PRELOAD_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/pages.h"

enum side { RAM,
	    TWIN,
	    SIDES };

/** Bytes of one of both areas, which are the same for both sides. They need not be aligned, nor mapped. */
struct range {
	unsigned area;
	size_t from, length;
};

#define AREAS 2u       /* the first has the RAM; the second is never offered */
#define FRONT_PAGES 96 /* of the first, before the RAM, and as many behind it */
#define RAM_PAGES 576u /* one block that may be a 2 MiB page, and a part of one */
#define NUMBERS 4u

/** What is drawn by lot for a step: the same for both sides. */
struct plan {
	struct range range, other;
	uint64_t number[NUMBERS];
};

/** What a step has given. */
struct given {
	long result;
	int error; /* errno, if the result is -1 */
	uint64_t also;
};

struct kind {
	const char *name;
	unsigned weight;
	/** Does it to one side. */
	struct given (*make)(enum side side, const struct plan *plan);
	/** Done once, after both, or NULL. */
	void (*after)(const struct plan *plan);
};

extern const struct kind random_kinds[];
extern const size_t random_kind_count;

/** What the twin's call has given, which is made first. */
extern struct given random_twin;

/** For the line about a step that is printed when something differs. */
extern char random_detail[96];

/** What the areas are mapped at, and how many bytes they have. */
char *random_at(enum side side, unsigned area, size_t at);
size_t random_bytes(unsigned area);

/** How many mappings are in a range of whole pages, and whether one of them is under a userfaultfd, or sealed. */
struct mappings {
	unsigned count;
	bool faulted, sealed;
};
struct mappings random_mappings(enum side side, struct range range);

/** A system call, of the VMM's or past the preload. @return -1 and errno if it fails. */
long random_call(enum side side, long number, long a, long b, long c, long d, long e, long f);
struct given random_given(long result);

/** What both sides have got is the same. */
void random_same(const struct given given[SIDES], const char *name);
/** The director shares what of a range is RAM. */
void random_share(struct range range);

#endif
