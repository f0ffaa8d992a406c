/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which 2 MiB pages may be split: by the settings for pages found by passes, and for noted ones; and by how many of the
 * pages inside would be shared.
 */
#ifndef PAGEFUSE_ENGINE_LARGE_H
#define PAGEFUSE_ENGINE_LARGE_H

#include <stdbool.h>

#include "engine/pages.h"

struct engine;

/** The most that is allowed to any VM. */
enum engine_large large_most(const struct engine *engine);
/** What is allowed to every VM. */
enum engine_large large_least(const struct engine *engine);
/** Whether enough of @block would be shared. */
bool large_is_dense(const struct engine *engine, const struct block *block);

/** Whether @page is inside a 2 MiB page that stays whole for now: then nothing may be ordered for it. */
bool large_keeps(struct page page);
/** Whether an order for @page may split a 2 MiB page around it. */
bool large_may_split(struct page page);

/** @page, READY, has a twin, or is the twin of another page: its block is released once it is dense enough. */
void large_mark(struct page page, uint32_t mark);
/** @page was merged. */
void large_broke(struct page page);

#endif
