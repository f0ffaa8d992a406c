/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory that guests take if they write all that they share, and its limit: at the limit nothing new is ordered for
 * a VM, which is then *held*. What it shares stays, and orders under way complete. The store decides (struct
 * engine_store, admit_exposure), as an engine knows one domain only.
 *
 *   exposed   = shared + zero                  pages, of a VM or of all
 *   committed = exposed + ordered + fetching + waiting
 *
 * The limit applies to committed pages, so that orders under way do not exceed it. A page that has waited is committed
 * already, and is not asked for again.
 *
 * The next pass matches pages that were put off. Noted pages, which a pass may never look at, are looked at again once
 * the VM is not held any more, as far as later.h has room; pages inside 2 MiB pages are then matched by their ready
 * hashes.
 */
#ifndef PAGEFUSE_ENGINE_EXPOSURE_H
#define PAGEFUSE_ENGINE_EXPOSURE_H

#include <stdbool.h>

#include "engine/pages.h"

struct engine;

/** @page is not shared now, because its VM is held. */
void exposure_put_off(struct page page);
/** Whether @page, with @pages more to be committed, must not be ordered: then it is put off. */
bool exposure_holds(struct page page, uint32_t pages);
/** Holds VMs, or lets them go on: one look at each that is awake, see rest.h. */
void exposure_tick(struct engine *engine);

#endif
