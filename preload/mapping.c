/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mmap(), munmap(), mremap(). */
#include <stdarg.h>
#include <sys/mman.h>

#include "preload/calls.h"
#include "preload/next.h"

#ifdef __USE_FILE_OFFSET64
#error "with 64-bit offsets by name, the definition of mmap() below would be one of mmap64()"
#endif

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
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

static size_t round_up(size_t length)
{
	return (length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

int move_change(void *old, size_t old_length, size_t new_length, int flags, void *new_address,
		struct change *ret_change)
{
	struct change from, over;

	old_length = round_up(old_length);
	new_length = round_up(new_length);
	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 && new_length != 0 && new_length <= old_length) {
		/* It stays in place and loses its tail. */
		*ret_change = change_of(CHANGE_UNMAP, (char *)old + new_length, old_length - new_length, 0);
		return 0;
	}
	from = new_length != 0 ? change_of(CHANGE_MOVE, old, old_length, 0) : change_none();
	over = (flags & MREMAP_FIXED) != 0 ? change_of(CHANGE_UNMAP, new_address, new_length, 0) : change_none();
	*ret_change = from.tell ? from : over;
	if (!from.tell || !over.tell)
		return 0;
	if (change_begin(&from) != 0)
		return -1;
	change_end(&from, true);
	*ret_change = over;
	return 0;
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

INTERPOSED void *mremap(void *old, size_t old_length, size_t new_length, int flags, ...)
{
	void *new_address = NULL, *result;
	struct change change;
	va_list arguments;

	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
		va_start(arguments, flags);
		new_address = va_arg(arguments, void *);
		va_end(arguments);
	}
	if (move_change(old, old_length, new_length, flags, new_address, &change) < 0 || change_begin(&change) != 0)
		return MAP_FAILED;
	result = next.mremap(old, old_length, new_length, flags, new_address);
	change_end(&change, result != MAP_FAILED);
	return result;
}
