/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/page.h"

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_PFN ((UINT64_C(1) << 55) - 1)

int pagemap_read(int pagemap, const void *address, size_t pages, uint64_t *ret_pfns)
{
	off_t from = (off_t)((uintptr_t)address / PAGE_BYTES * sizeof(*ret_pfns));
	ssize_t bytes = pread(pagemap, ret_pfns, pages * sizeof(*ret_pfns), from);

	if (bytes < 0)
		return -errno;
	if ((size_t)bytes != pages * sizeof(*ret_pfns))
		return -EIO;
	for (size_t i = 0; i < pages; i++)
		ret_pfns[i] = ret_pfns[i] & ENTRY_PRESENT ? ret_pfns[i] & ENTRY_PFN : 0;
	return 0;
}

int pagemap_open(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), r;
	uintptr_t here = (uintptr_t)&fd / PAGE_BYTES * PAGE_BYTES; /* the stack, which is there */
	uint64_t pfn;

	if (fd < 0)
		return -errno;
	r = pagemap_read(fd, (const void *)here, 1, &pfn);
	if (r == 0 && pfn != 0)
		return fd;
	close(fd);
	return r < 0 ? r : -EPERM;
}
