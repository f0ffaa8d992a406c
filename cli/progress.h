/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A bar on standard error, for what takes a while. */
#ifndef PAGEFUSE_CLI_PROGRESS_H
#define PAGEFUSE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Draws over the previous one. What comes after all pages are done has no measure: until it is @finished the bar waits
 * at 99 %.
 */
void progress_draw(int64_t done_pages, int64_t total_pages, bool finished);

#endif
