/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The hold that breaks a 2 MiB page marks its block MADV_NOHUGEPAGE (hold.c): khugepaged would
 * fill the holes of zeros that were given back, and nobody would hear of it before the next look. So the mark may go
 * only where there are no such holes, and no page of the store, which a 2 MiB page cannot be made of. The tables are
 * asked for that, page by page, whatever the daemon has counted.
 *
 * No advice takes MADV_NOHUGEPAGE back without giving MADV_HUGEPAGE. So it is taken back where the VMM had given that,
 * and stays where it has said nothing; where the VMM itself wants no 2 MiB pages there is nothing to take back.
 *
 * The kernel collapses no page that is pinned, or that anybody has a plain reference to, and none that is registered
 * for missing pages with a userfaultfd.
 */
#include "library/whole.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "common/madvise.h"
#include "library/children.h"
#include "library/hold.h"
#include "library/pagemap.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"

#define COLLAPSE_ATTEMPTS 3 /* a page may be on its way to or from the kernel's lists */

/** Whether nothing has been made of these pages, and the VMM has not said that they are to be left alone. */
static bool is_untouched(const struct region *region, uint64_t index, uint64_t end)
{
	for (uint64_t i = index; i < end; i++)
		if (region->state[i] != PAGE_ANONYMOUS || region->excluded[i] != 0)
			return !PROTECTED(PROTECT_WHOLE);
	return true;
}

/** Whether all pages of a block have memory of their own: else there would be more in use after a collapse. */
static bool is_there(uint64_t start)
{
	struct page_region ranges[HOLD_PAGES];
	uint64_t walked, pages = 0;
	int found = pagemap_scan(start, start + HUGE_BYTES, ranges, HOLD_PAGES, &walked);

	for (int r = 0; r < found; r++)
		if ((ranges[r].categories & (PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_SWAPPED)) == 0)
			pages += (ranges[r].end - ranges[r].start) / PAGE_BYTES;
	return pages == HUGE_BYTES / PAGE_BYTES;
}

static bool collapse(uint64_t start)
{
	int r = -EAGAIN;

	for (int attempts = 0; attempts < COLLAPSE_ATTEMPTS && r == -EAGAIN; attempts++)
		r = sys_madvise(start, HUGE_BYTES, MADV_COLLAPSE);
	return r == 0;
}

enum ring_whole whole_give_back(uint32_t page, unsigned count, bool may_collapse)
{
	struct region *region = region_of_page(page);
	uint64_t index = region != NULL ? page - region->first_page : 0, start;
	uint8_t *block;

	if (region == NULL || count > region->pages - index)
		return WHOLE_KEPT;
	start = region_hva(region, index);
	block = region_block(region, index);
	if (block != region_block(region, index + count - 1))
		return WHOLE_KEPT;
	if (!(*block & BLOCK_BROKEN))
		return WHOLE_RELEASED;
	if (region->huge_advice != MADV_HUGEPAGE || (*block & BLOCK_ADVISED) || children_alive() ||
	    !is_untouched(region, index, index + count) ||
	    sys_madvise(start, count * PAGE_BYTES, MADV_HUGEPAGE) < 0)
		return WHOLE_KEPT;
	*block = BLOCK_WAS_HUGE;                                            /* the next merge keeps it again */
	atomic_fetch_add_explicit(&hold_discards, 1, memory_order_relaxed); /* it may be one mapping with others now */
	if (may_collapse && count == HUGE_BYTES / PAGE_BYTES && is_there(start) && collapse(start))
		return WHOLE_IS;
	return WHOLE_RELEASED;
}
