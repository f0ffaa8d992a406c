/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* FETCH orders: they get a page's content, to fill a slot that other pages wait for. Nothing is matched here. */
#ifndef PAGEFUSE_ENGINE_FETCHES_H
#define PAGEFUSE_ENGINE_FETCHES_H

#include "engine/state.h"
#include "protocol/ring.h"

/** Whether @vm can be ordered to FETCH. */
static inline bool fetch_is_possible(const struct engine_vm *vm)
{
	enum wire_mode mode = vm_mode(vm);

	return vm->ready && !vm->detached && !vm->unresponsive && vm->fetched >= vm->overdue_fetches &&
	       (mode == WIRE_MODE_FULL || mode == WIRE_MODE_HINTS);
}
/**
 * Orders the content of @other, under @key, for a new slot, for which @page waits. If the store is full @page is parked
 * until that may be tried again, or left alone. @parity: of the barrier that waits for it. @return whether it waits.
 */
bool fetch_start(struct page other, struct page page, struct table_key key, uint32_t parity);
/** @page, under @key, waits in *@list, as above. @return whether there was room. */
bool fetch_wait(struct page page, uint32_t *list, struct table_key key, uint32_t parity);

/** Takes the oldest FETCH of @vm if it is for page number @page. @return whether it was. */
bool fetch_take(struct engine_vm *vm, uint32_t page, struct fetch *ret);
/**
 * The slot of @fetch gets no content. Its page becomes private, with the checksum and PRIVATE_COPY in @private. Pages
 * that wait for the slot are to be matched again.
 */
void fetch_fail(struct engine_vm *vm, const struct fetch *fetch, uint32_t private);
/** Gives up FETCHes of pages in @region of @vm, or of all if it is NULL. Their answers are still to come. */
void fetches_give_up(struct engine_vm *vm, const struct region *region);
/** Forgets all FETCHes of @vm, which have been given up: no answers come any more. */
void fetches_drop(struct engine_vm *vm);
/** The barrier of @parity waits no longer: gives up all FETCHes of each VM that still owes it an answer. */
void fetches_overdue(struct engine *engine, uint32_t parity);

#endif
