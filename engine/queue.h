/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A bounded first-in first-out queue of fixed-size items that takes memory only while it holds some. */
#ifndef PAGEFUSE_ENGINE_QUEUE_H
#define PAGEFUSE_ENGINE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct queue {
	char *items;   /* ring of `capacity` places, a power of two; NULL while capacity is 0 */
	uint32_t size; /* bytes of an item */
	uint32_t most; /* items at most, a power of two */
	uint32_t capacity;
	uint32_t head; /* place of the oldest item */
	uint32_t length;
};

void queue_init(struct queue *queue, uint32_t size, uint32_t most);
void queue_done(struct queue *queue);

/** Room for one more item at the back, to be filled in. @return NULL if the queue is full or there is no memory. */
void *queue_push(struct queue *queue);
/** Item @index counted from the oldest; NULL beyond the end. Valid until the next push or pop. */
void *queue_at(const struct queue *queue, uint32_t index);
/** Drops the newest item again. */
void queue_unpush(struct queue *queue);
/** Drops the oldest item. Gives the memory back once the queue is empty. */
void queue_pop(struct queue *queue);

#endif
