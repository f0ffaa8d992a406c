/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What guests take of memory if they write all that they share, and when that is to become no more: then nothing new is
 * ordered for a VM, which is *held*. What it shares stays, and what is under way is done. The store says when (struct
 * engine_store, may_expose), as an engine knows one domain only.
 *
 *   exposed   = shared + zero                  pages, of a VM or of all
 *   committed = exposed + ordered + fetching + waiting
 *
 * What is committed is held against the limit, so that orders under way do not go beyond it. A page that has waited is
 * committed already, and is not asked for again.
 *
 * What is put off is matched by the next pass that looks at it. Noted pages, which none may ever look at, are looked at
 * again once the VM is held no more, as far as later.h has room; pages inside 2 MiB pages are matched then by their
 * ready hashes.
 */
#ifndef PAGEFUSE_ENGINE_EXPOSURE_H
#define PAGEFUSE_ENGINE_EXPOSURE_H

#include <stdbool.h>

#include "engine/pages.h"

struct engine;

/** @page is not shared now, as its VM is held. */
void exposure_put_off(struct page page);
/** Whether nothing is to be ordered for @page, by which @pages more would be committed: then it is put off. */
bool exposure_holds(struct page page, uint32_t pages);
/** Holds VMs, or lets them go on: a look at each that is awake, see rest.h. */
void exposure_tick(struct engine *engine);

#endif
