/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much memory guests may take by writing all that they share, and which VMs may share more: plain accounts, no I/O
 * and no clock. docs/design/exposure.md gives the reasons.
 */
#ifndef PAGEFUSE_DAEMON_EXPOSURE_H
#define PAGEFUSE_DAEMON_EXPOSURE_H

#include <stdbool.h>
#include <stdint.h>

#ifndef EXPOSURE_FACTOR
#define EXPOSURE_FACTOR UINT64_C(8) /* times what remains, that a domain may have; a test builds with another */
#endif
#define EXPOSURE_TEXT_SIZE 32
#define EXPOSURE_PERCENT_MAX 1000u
#define EXPOSURE_MARGIN 16u                   /* this part of a limit has to be free before a held VM goes on */
#define EXPOSURE_CALM_USEC UINT64_C(60000000) /* it has to be over for this long before that is logged */

/** [memory] exposure_max: so many bytes, or so much of the memory and swap that are free; or, both 0, any. */
struct exposure_limit {
	uint64_t bytes;
	uint32_t percent;
	char text[EXPOSURE_TEXT_SIZE]; /* as it was written */
};

/** All domains of a daemon. */
struct exposure {
	uint64_t limit_pages; /* UINT64_MAX: none */
	uint64_t pages;       /* shared or zero in all domains, or under way to that */
};

/**
 * The limit @limit in pages, while @cover_bytes of memory and swap are free. @cover_bytes UINT64_MAX: not known; then a
 * limit that is a share of it is 0.
 */
uint64_t exposure_limit_pages(const struct exposure_limit *limit, uint64_t cover_bytes);
/**
 * Whether a VM may have @vm_pages when its domain has @domain_pages, and all domains have exposure->pages, both
 * included.
 * @held: it was refused the last time.
 */
bool exposure_may(const struct exposure *exposure, uint64_t domain_pages, uint64_t vm_pages, bool held);

/** Logged once when it begins, and once when it has been over for a while. */
struct exposure_notice {
	bool said;
	uint64_t over_usec; /* since when it is over; 0: it is not */
};
enum exposure_news {
	EXPOSURE_NO_NEWS,
	EXPOSURE_BEGINS,
	EXPOSURE_ENDS,
};
/** @now_usec: any clock. @over: it has ended, by a margin. @return what is to be logged now. */
enum exposure_news exposure_look(struct exposure_notice *notice, bool is_so, bool over, uint64_t now_usec);
/** Whether @cover_bytes are more than @exposed_bytes by a margin. */
bool exposure_is_covered_well(uint64_t exposed_bytes, uint64_t cover_bytes);

#endif
