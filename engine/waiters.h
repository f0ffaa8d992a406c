/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages that wait to be matched, in lists: at each slot whose content is being fetched, those that have that content;
 * and those whose turn comes next. Lists are joined at once, however long they are: a list is its last waiter, whose
 * next is the first one. No VM has more waiters than are free, so however many VMs take all that they get, there are
 * some left for the next one.
 */
#ifndef PAGEFUSE_ENGINE_WAITERS_H
#define PAGEFUSE_ENGINE_WAITERS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/table.h"

#define WAITERS_MAX 65536u
#define WAITER_OF_NONE UINT16_MAX

struct waiter {
	struct table_key key; /* of the page's content, as it was reported */
	uint32_t global;      /* the page: may have changed or gone meanwhile, so it is looked up and checked again */
	uint32_t next : 31;   /* index */
	uint32_t parity : 1;  /* of the barrier before which it began to wait */
	uint16_t vm;          /* whose page it is, by index; WAITER_OF_NONE: one that is gone */
};

struct waiters {
	struct waiter *places; /* by index; 0 is nobody */
	uint32_t free, top, used;
	uint32_t waiting[2]; /* how many there are, by parity */
	uint32_t again;      /* list: to be matched as soon as it is their turn */
	uint32_t parked;     /* list: the same, when more slots may be tried, see backoff.h */
};

/** @return 0 or -ENOMEM. */
int waiters_init(struct waiters *waiters);
void waiters_done(struct waiters *waiters);

/** How many more there can be. */
static inline uint32_t waiters_left(const struct waiters *waiters)
{
	return WAITERS_MAX - 1 - waiters->used;
}

/** Adds a copy of @waiter at the end of *@list (0: empty), if there is room for it. @return whether there was. */
bool waiters_add(struct waiters *waiters, uint32_t *list, const struct waiter *waiter);
/** Puts all of *@from at the end of *@list; *@from is empty then. */
void waiters_join(struct waiters *waiters, uint32_t *list, uint32_t *from);
/** Takes the first one of *@list, which is not empty. */
struct waiter waiters_take_first(struct waiters *waiters, uint32_t *list);
/** Takes the first one of *@list. @return whether there was one. */
static inline bool waiters_take(struct waiters *waiters, uint32_t *list, struct waiter *ret)
{
	if (*list == 0)
		return false;
	*ret = waiters_take_first(waiters, list);
	return true;
}
/** VM @vm goes, and had @count of them: they are nobody's from here on. */
void waiters_disown(struct waiters *waiters, uint32_t vm, uint32_t count);
/** Whether any of @list waits for the barrier of @parity. Looks at each. */
bool waiters_have_parity(const struct waiters *waiters, uint32_t list, uint32_t parity);

#endif
