/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/pagemap.h"

#include <errno.h>
#include <fcntl.h>

#include "common/page.h"
#include "library/descriptors.h"
#include "library/protections.h"
#include "library/sys.h"

static struct descriptor *pagemap;

int pagemap_open(void)
{
	struct page_region range;
	uint64_t walked;
	bool had;
	int r;

	if (descriptor_is_there(pagemap))
		return 0;
	if (pagemap != NULL && !descriptors_table_is_ours())
		return -EBADF;
	descriptor_close(&pagemap);
	had = descriptors_open();
	r = (int)sys_call(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	r = descriptor_add(r, &pagemap);
	descriptors_opened(had);
	if (r < 0)
		return r;
	r = pagemap_scan((uint64_t)&range & ~(PAGE_BYTES - 1), ((uint64_t)&range & ~(PAGE_BYTES - 1)) + PAGE_BYTES,
			 &range, 1, &walked);
	if (r < 0)
		pagemap_close();
	return r < 0 ? r : 0;
}

void pagemap_close(void)
{
	descriptor_close(&pagemap);
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
	int r = sys_ioctl(descriptor_number(pagemap), PAGEMAP_SCAN, &arg);

	if (r >= 0 && !descriptor_is_there(pagemap))
		return -EBADF;
	if (r >= 0)
		*ret_walked = arg.walk_end;
	return r;
}

int pagemap_read(uint64_t start, unsigned count, uint64_t *ret_entries)
{
	long wanted = (long)(count * sizeof(uint64_t));
	long r = sys_call(SYS_pread64, descriptor_number(pagemap), (long)ret_entries, wanted,
			  (long)(start / PAGE_BYTES * sizeof(uint64_t)), 0, 0);

	if (r < 0)
		return (int)r;
	if (!descriptor_is_there(pagemap))
		return -EBADF; /* the data may have come from a file of the VMM's */
	return r == wanted ? 0 : -EIO;
}
