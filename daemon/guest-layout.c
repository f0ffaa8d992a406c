/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guest-layout.h"

#include "common/page.h"

#define HIGH_GFN (UINT64_C(1) << (32 - PAGE_SHIFT_BITS)) /* 4 GiB */

uint32_t guest_layout_of_pc(const struct agent_pages *ram, uint32_t count, uint32_t page, uint32_t pages,
			    struct wire_range ret[GUEST_LAYOUT_RANGES])
{
	uint64_t low_end = 0, high_end = HIGH_GFN, low, high;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t end = ram[i].first + ram[i].pages;

		if (end <= HIGH_GFN)
			low_end = end;
		else if (ram[i].first >= HIGH_GFN)
			high_end = end;
		else
			return 0;
	}
	/* Firmware reserves some RAM at the end of the part below 4 GiB, too; nothing is reserved above. */
	high = high_end - HIGH_GFN;
	if (low_end == 0 || high >= pages)
		return 0;
	low = pages - high;
	if (low < low_end || low > HIGH_GFN)
		return 0;
	ret[0] = (struct wire_range){ .gfn = 0, .page = page, .pages = (uint32_t)low };
	ret[1] = (struct wire_range){ .gfn = HIGH_GFN, .page = page + (uint32_t)low, .pages = (uint32_t)high };
	return high > 0 ? 2 : 1;
}
