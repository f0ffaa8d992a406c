/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hints: entries of the table that name a page. A hint counts only as long as its page is private, has that content's
 * checksum, and is marked as hinted.
 */
#ifndef PAGEFUSE_ENGINE_HINTS_H
#define PAGEFUSE_ENGINE_HINTS_H

#include "engine/pages.h"
#include "engine/table.h"

struct engine;

/** Enters a hint of @page, private and with the content under @key. */
void hints_enter(struct page page, struct table_key key);
/** The hint @ref is removed or replaced: its page has to be entered again when it is next reported. */
void hints_forget(struct engine *engine, uint32_t ref);
/** The page that the hint @ref under @key names. @return whether the hint still counts. */
bool hints_find(const struct engine *engine, struct table_key key, uint32_t ref, struct page *ret);
/** The page of a global number. @return whether it still exists. */
bool hints_find_page(const struct engine *engine, uint32_t global, struct page *ret);
/** For the table: whether the entry @ref under @key of @engine, a hint or not, is still valid. */
bool hints_keep(void *engine, struct table_key key, uint32_t ref);

#endif
