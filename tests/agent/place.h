/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A folder on a disk that everybody reaches, with files whose pages are in memory: what the agent looks at. */
#ifndef PAGEFUSE_TESTS_AGENT_PLACE_H
#define PAGEFUSE_TESTS_AGENT_PLACE_H

#include <stddef.h>
#include <stdint.h>

/** Makes the folder; skips the test where there is no such disk, or without root. It goes when the test ends. */
void place_make(void);

/** Path of @name in it; of the folder itself if @name is "". Good until the next calls but three. */
const char *place_path(const char *name);

/** A file of @pages pages, different ones, which are in memory and stay there until place_evict(). */
void place_file(const char *name, unsigned pages);

/** A text file with @format. */
void place_text(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Has none of its pages in memory; skips the test if it cannot be. */
void place_evict(const char *name);

/** How many of its pages are in memory. */
unsigned place_cached(const char *name);

/** The page frame of page @page of it, which is in memory. */
uint64_t place_frame(const char *name, uint64_t page);

#endif
