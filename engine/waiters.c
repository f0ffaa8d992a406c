/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/waiters.h"

#include <errno.h>

#include "engine/array.h"

int waiters_init(struct waiters *waiters)
{
	*waiters = (struct waiters){ .places = array_new(WAITERS_MAX, sizeof(struct waiter)) };
	return waiters->places ? 0 : -ENOMEM;
}

void waiters_done(struct waiters *waiters)
{
	array_free(waiters->places, WAITERS_MAX, sizeof(struct waiter));
}

bool waiters_add(struct waiters *waiters, uint32_t *list, const struct waiter *waiter)
{
	uint32_t index = waiters->free;
	struct waiter *place;

	if (waiters_left(waiters) == 0)
		return false;
	if (index != 0)
		waiters->free = waiters->places[index].next;
	else
		index = ++waiters->top;
	place = &waiters->places[index];
	*place = *waiter;
	place->next = index;
	waiters->used++;
	waiters->waiting[place->parity]++;
	waiters_join(waiters, list, &index);
	return true;
}

void waiters_join(struct waiters *waiters, uint32_t *list, uint32_t *from)
{
	if (*from != 0 && *list != 0) {
		uint32_t first = waiters->places[*list].next;

		waiters->places[*list].next = waiters->places[*from].next;
		waiters->places[*from].next = first;
	}
	if (*from != 0)
		*list = *from;
	*from = 0;
}

struct waiter waiters_take_first(struct waiters *waiters, uint32_t *list)
{
	uint32_t first = waiters->places[*list].next;
	struct waiter taken = waiters->places[first];

	if (first == *list)
		*list = 0;
	else
		waiters->places[*list].next = taken.next;
	waiters->places[first] = (struct waiter){ .next = waiters->free, .vm = WAITER_OF_NONE };
	waiters->free = first;
	waiters->used--;
	waiters->waiting[taken.parity]--;
	return taken;
}

void waiters_disown(struct waiters *waiters, uint32_t vm, uint32_t count)
{
	for (uint32_t i = 1; i <= waiters->top && count > 0; i++) {
		if (waiters->places[i].vm != vm)
			continue;
		waiters->places[i].vm = WAITER_OF_NONE;
		count--;
	}
}

bool waiters_have_parity(const struct waiters *waiters, uint32_t list, uint32_t parity)
{
	uint32_t at = list;

	while (at != 0) {
		if (waiters->places[at].parity == parity)
			return true;
		at = waiters->places[at].next;
		if (at == list)
			break;
	}
	return false;
}
