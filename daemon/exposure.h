/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much guests may take of memory by writing all that they share, and who may add to it: plain accounts, no I/O and
 * no clock. docs/design/exposure.md tells why.
 */
#ifndef PAGEFUSE_DAEMON_EXPOSURE_H
#define PAGEFUSE_DAEMON_EXPOSURE_H

#include <stdbool.h>
#include <stdint.h>

#ifndef EXPOSURE_FACTOR
#define EXPOSURE_FACTOR UINT64_C(8) /* a domain may have so many times what is left; a test builds with another */
#endif
#define EXPOSURE_TEXT_SIZE 32
#define EXPOSURE_PERCENT_MAX 1000u
#define EXPOSURE_MARGIN 16u                   /* this part of a limit has to be left until what had to stop goes on */
#define EXPOSURE_CALM_USEC UINT64_C(60000000) /* so long it has to be over until the log says that it is */

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
 * What @limit is, in pages, while @cover_bytes of memory and swap are free. UINT64_MAX: nobody can tell; then a share
 * of it is nothing.
 */
uint64_t exposure_limit_pages(const struct exposure_limit *limit, uint64_t cover_bytes);
/**
 * Whether a VM may have @vm_pages when its domain has @domain_pages, and all have exposure->pages, these included.
 * @held: it might not when this was asked last.
 */
bool exposure_may(const struct exposure *exposure, uint64_t domain_pages, uint64_t vm_pages, bool held);

/** What is said once when it begins, and once when it has been over for a while. */
struct exposure_notice {
	bool said;
	uint64_t over_usec; /* since when it is over; 0: it is not */
};
enum exposure_news {
	EXPOSURE_NO_NEWS,
	EXPOSURE_BEGINS,
	EXPOSURE_ENDS,
};
/** @now_usec: any clock. @over: it is not so any more, and not nearly so. @return what is to be said now. */
enum exposure_news exposure_look(struct exposure_notice *notice, bool is_so, bool over, uint64_t now_usec);
/** Whether @cover_bytes are more than @exposed_bytes by a margin. */
bool exposure_is_covered_well(uint64_t exposed_bytes, uint64_t cover_bytes);

#endif
