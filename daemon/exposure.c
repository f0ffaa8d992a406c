/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/exposure.h"

#include "common/page.h"
#include "daemon/memory-state.h"

uint64_t exposure_limit_pages(const struct exposure_limit *limit, uint64_t cover_bytes)
{
	if (limit->bytes != 0)
		return limit->bytes / PAGE_BYTES;
	if (limit->percent == 0)
		return UINT64_MAX;
	return cover_bytes == UINT64_MAX ? 0 : memory_threshold_bytes(cover_bytes, limit->percent) / PAGE_BYTES;
}

static uint64_t less(uint64_t most, uint64_t taken)
{
	return most > taken ? most - taken : 0;
}

/*
 * As for the room in the store (quota.c), among domains, and within a domain among its VMs: each may have as much as is
 * left for the others. So newcomers always find some left, and whoever has most is limited first.
 */
bool exposure_may(const struct exposure *exposure, uint64_t domain_pages, uint64_t vm_pages, bool held)
{
	uint64_t limit = exposure->limit_pages, of_domain;

	if (limit == UINT64_MAX)
		return true;
	if (held)
		limit -= limit / EXPOSURE_MARGIN;
	of_domain = EXPOSURE_FACTOR * less(limit, exposure->pages);
	return vm_pages <= less(of_domain, domain_pages);
}

enum exposure_news exposure_look(struct exposure_notice *notice, bool is_so, bool over, uint64_t now_usec)
{
	if (!notice->said) {
		notice->said = is_so;
		notice->over_usec = 0;
		return is_so ? EXPOSURE_BEGINS : EXPOSURE_NO_NEWS;
	}
	if (!over) {
		notice->over_usec = 0;
		return EXPOSURE_NO_NEWS;
	}
	if (notice->over_usec == 0)
		notice->over_usec = now_usec;
	if (now_usec - notice->over_usec < EXPOSURE_CALM_USEC)
		return EXPOSURE_NO_NEWS;
	notice->said = false;
	return EXPOSURE_ENDS;
}

bool exposure_is_covered_well(uint64_t exposed_bytes, uint64_t cover_bytes)
{
	return exposed_bytes <= cover_bytes - cover_bytes / EXPOSURE_MARGIN;
}
