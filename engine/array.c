/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/array.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* From this size on an array has a mapping of its own: untouched pages cost nothing, and freed ones go back at once. */
#define ARRAY_MAPPED_BYTES 16384

void *array_new(size_t count, size_t size)
{
	size_t bytes;
	void *array;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	if (bytes < ARRAY_MAPPED_BYTES)
		return calloc(count, size);
	array = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return array == MAP_FAILED ? NULL : array;
}

void array_free(void *array, size_t count, size_t size)
{
	if (array == NULL)
		return;
	if (count * size < ARRAY_MAPPED_BYTES)
		free(array);
	else
		munmap(array, count * size);
}

void array_clear(void *part, size_t bytes)
{
	if (madvise(part, bytes, MADV_DONTNEED) < 0)
		memset(part, 0, bytes);
}
