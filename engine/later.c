/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/later.h"

#include "engine/rest.h"
#include "engine/state.h"

void later_add(struct page page, uint64_t due_usec)
{
	struct queue *queue = &page.region->vm->later;
	struct later *last = queue->length > 0 ? queue_at(queue, queue->length - 1) : NULL;
	uint32_t number = page_number(page);

	rest_wake(page.region->vm);
	if (last != NULL && last->page + last->count == number && page.index > 0 && last->count < RING_SCAN_PAGES_MAX) {
		last->count++;
		last->due_usec = last->due_usec > due_usec ? last->due_usec : due_usec;
		return;
	}
	last = queue_push(queue);
	if (last != NULL)
		*last = (struct later){ .due_usec = due_usec, .page = number, .count = 1 };
}

uint64_t later_due(const struct engine_vm *vm)
{
	const struct later *first = queue_at(&vm->later, 0);

	return first != NULL ? first->due_usec : UINT64_MAX;
}

bool later_take(struct engine_vm *vm, struct scan *ret)
{
	const struct later *first = queue_at(&vm->later, 0);

	*ret = (struct scan){ .kind = SCAN_LATER, .page = first->page, .count = first->count };
	queue_pop(&vm->later);
	return vm_region(vm, ret->page) != NULL;
}
