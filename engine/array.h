/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large zeroed arrays in which only touched pages cost memory. */
#ifndef PAGEFUSE_ENGINE_ARRAY_H
#define PAGEFUSE_ENGINE_ARRAY_H

#include <stddef.h>

/**
 * @count zeroed items of @size bytes. @return NULL without memory. To be freed by array_free() with the same figures.
 */
void *array_new(size_t count, size_t size);
/** @array may be NULL. */
void array_free(void *array, size_t count, size_t size);

/** Zeroes @bytes, whole pages, of an array of 16 KiB or more, and gives their memory back. */
void array_clear(void *part, size_t bytes);

#endif
