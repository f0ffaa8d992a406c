/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/part.h"

#include "common/page.h"

bool part_find(struct region *region, uint64_t start, uint64_t length, struct part *ret)
{
	uint64_t end = length > UINT64_MAX - start - PAGE_BYTES ? UINT64_MAX & ~(PAGE_BYTES - 1)
								: (start + length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	uint64_t from = start & ~(PAGE_BYTES - 1);

	if (region == NULL || region->leaving || end <= region->start || from >= region_end(region))
		return false;
	from = from < region->start ? region->start : from;
	end = end > region_end(region) ? region_end(region) : end;
	*ret = (struct part){ .region = region,
			      .index = (from - region->start) / PAGE_BYTES,
			      .count = (end - from) / PAGE_BYTES };
	ret->whole = ret->count == region->pages;
	return ret->count > 0;
}
