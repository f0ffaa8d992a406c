/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/pagemap.h"

#include <errno.h>
#include <fcntl.h>

#include "common/page.h"
#include "library/protections.h"
#include "library/sys.h"

static int pagemap = -1;

int pagemap_open(void)
{
	struct page_region range;
	uint64_t walked;
	int r;

	if (pagemap >= 0)
		return 0;
	r = (int)sys_call(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	if (r < 0)
		return r;
	pagemap = r;
	r = pagemap_scan((uint64_t)&range & ~(PAGE_BYTES - 1), ((uint64_t)&range & ~(PAGE_BYTES - 1)) + PAGE_BYTES,
			 &range, 1, &walked);
	if (r < 0)
		pagemap_close();
	return r < 0 ? r : 0;
}

void pagemap_close(void)
{
	if (pagemap >= 0)
		sys_raw(SYS_close, pagemap, 0, 0, 0, 0, 0);
	pagemap = -1;
}

int pagemap_scan(uint64_t start, uint64_t end, struct page_region *ranges, unsigned max, uint64_t *ret_walked)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uint64_t)ranges,
		.vec_len = max,
		.category_mask = PROTECTED(PROTECT_SWAPPED_PROVES_NOTHING) ? PAGE_IS_PRESENT : 0,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_HUGE | PAGE_IS_SWAPPED,
	};
	int r = sys_ioctl(pagemap, PAGEMAP_SCAN, &arg);

	if (r >= 0)
		*ret_walked = arg.walk_end;
	return r;
}

int pagemap_read(uint64_t start, unsigned count, uint64_t *ret_entries)
{
	long wanted = (long)(count * sizeof(uint64_t));
	long r = sys_call(SYS_pread64, pagemap, (long)ret_entries, wanted,
			  (long)(start / PAGE_BYTES * sizeof(uint64_t)), 0, 0);

	if (r < 0)
		return (int)r;
	return r == wanted ? 0 : -EIO;
}
