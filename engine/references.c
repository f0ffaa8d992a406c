/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/references.h"

#include "engine/stability.h"
#include "engine/state.h"

void reference_confirm(struct page page)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page), slot = state & STATE_VALUE;

	vm->answered++;
	if (stability_is_noted(page)) {
		stability_set_noted(page, false);
		vm->counters.noted_shared++;
	}
	if (state == PAGE_ZERO_ORDERED) {
		page_set(page, PAGE_ZERO);
		return;
	}
	page_set(page, STATE(KIND_SHARED, slot));
	slots_confirm(&vm->engine->slots, slot);
}

void reference_drop(struct page page, uint32_t private)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page);

	page_set(page, STATE(KIND_PRIVATE, private));
	if (state_kind(state) == KIND_ORDERED || state == PAGE_ZERO_ORDERED)
		vm->answered++;
	if (state_kind(state) == KIND_SHARED)
		slots_unshare(&vm->engine->slots, state & STATE_VALUE);
	else if (state_kind(state) == KIND_ORDERED)
		slots_unorder(&vm->engine->slots, state & STATE_VALUE);
}
