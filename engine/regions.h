/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's regions, in the order of their page numbers, which are given once and to no other region later. */
#ifndef PAGEFUSE_ENGINE_REGIONS_H
#define PAGEFUSE_ENGINE_REGIONS_H

#include "engine/pages.h"

#define REGIONS_MAX 1024u

struct regions {
	struct region *list[REGIONS_MAX]; /* by page number */
	uint32_t count;
	uint32_t last;                /* index of the one found last */
	uint32_t beyond[REGIONS_MAX]; /* first pages of regions beyond the limits, of which little else is known */
	uint32_t beyond_length[REGIONS_MAX];
	uint16_t beyond_before[REGIONS_MAX]; /* see blocks.h */
	bool beyond_waits[REGIONS_MAX];      /* for page numbers, see vm.h */
	uint32_t beyond_count;
	uint32_t waiting_count; /* of these, that wait */
	uint32_t next_page;     /* number of the first page that no region had yet; at first 1 */
	uint64_t pages;         /* of all in the list */
	uint64_t beyond_pages;  /* of all beyond the limits */
};

/** Of regions_find(), if it is not the last one found. */
struct region *regions_search(struct regions *regions, uint32_t page);
/** The region of page number @page; NULL if none has it, or has it any more. */
static inline struct region *regions_find(struct regions *regions, uint32_t page)
{
	if (regions->last < regions->count) {
		struct region *region = regions->list[regions->last];

		if (page - region->first < region->pages)
			return region;
	}
	return regions_search(regions, page);
}
/** The first region that has pages from number @page on, NULL if none has. */
struct region *regions_from(const struct regions *regions, uint32_t page);
/**
 * Of regions_find() for the run of @count pages from @page on; *@ret_region is NULL for pages of regions that are gone.
 * @return 0, -EPROTO if no region ever had them, or not all are of the same.
 */
int regions_find_run(struct regions *regions, uint32_t page, uint32_t count, struct region **ret_region);

/** Whether a region of @pages pages may begin at page number @page. @return 0, -EPROTO, -ENOMEM (too many regions). */
int regions_may_add(const struct regions *regions, uint32_t page, uint64_t pages);
/** Adds @region, which is owned from here on, after regions_may_add(). */
void regions_add(struct regions *regions, struct region *region);
/** Takes @region out of the list; the caller owns it again. */
void regions_take(struct regions *regions, struct region *region);
/** The one with the most pages; NULL if there is none. */
const struct region *regions_largest(const struct regions *regions);
/** Frees all that are in the list. */
void regions_done(struct regions *regions);

/** Likewise for a region that was noted as beyond the limits, and has been forgotten there. */
void regions_insert(struct regions *regions, struct region *region);

/** Notes a region beyond the limits, after regions_may_add(). @before: see blocks.h. @waits: for page numbers. */
void regions_add_beyond(struct regions *regions, uint32_t page, uint32_t pages, uint32_t before, bool waits);
/** The region does not wait any more. @index: in the list of those beyond the limits. */
void regions_wait_no_more(struct regions *regions, uint32_t index);
/** Forgets the one that begins at @page. @return 0, -EPROTO if none does. */
int regions_remove_beyond(struct regions *regions, uint32_t page);
/** Whether @page is of a region beyond the limits. */
bool regions_is_beyond(const struct regions *regions, uint32_t page);

#endif
