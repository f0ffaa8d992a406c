/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mmap() and munmap(). mremap() is in remap.c. */
#include <sys/mman.h>

#include "preload/calls.h"
#include "preload/next.h"

#ifdef __USE_FILE_OFFSET64
#error "with 64-bit offsets by name, the definition of mmap() below would be one of mmap64()"
#endif

struct change map_change(void *address, size_t length, int flags)
{
	/* With NOREPLACE the kernel replaces nothing, whatever else is set. */
	if ((flags & MAP_FIXED) == 0 || (flags & MAP_FIXED_NOREPLACE) != 0)
		return change_none();
	return change_of(CHANGE_UNMAP, address, length, 0);
}

struct change unmap_change(void *address, size_t length)
{
	return change_of(CHANGE_UNMAP, address, length, 0);
}

INTERPOSED void *mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct change change = map_change(address, length, flags);
	void *result;

	if (change_begin(&change) != 0)
		return MAP_FAILED;
	result = next.mmap(address, length, prot, flags, fd, offset);
	change_end(&change, result != MAP_FAILED);
	return result;
}

_Static_assert(sizeof(off_t) == sizeof(off64_t), "mmap() and mmap64() are the same");
INTERPOSED void *mmap64(void *address, size_t length, int prot, int flags, int fd, off64_t offset)
	__attribute__((alias("mmap")));

INTERPOSED int munmap(void *address, size_t length)
{
	struct change change = unmap_change(address, length);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.munmap(address, length);
	change_end(&change, result == 0);
	return result;
}
