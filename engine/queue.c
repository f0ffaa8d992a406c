/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_FIRST_CAPACITY 16u
/* An empty queue of at most this capacity keeps its memory: it will be used again at once. */
#define QUEUE_KEPT_CAPACITY 64u

void queue_init(struct queue *queue, uint32_t size, uint32_t most)
{
	assert((most & (most - 1)) == 0 && most >= QUEUE_FIRST_CAPACITY);
	*queue = (struct queue){ .size = size, .most = most };
}

void queue_done(struct queue *queue)
{
	free(queue->items);
	queue->items = NULL;
	queue->capacity = queue->head = queue->length = 0;
}

static char *place_of(const struct queue *queue, uint32_t index)
{
	return queue->items + (size_t)((queue->head + index) & (queue->capacity - 1)) * queue->size;
}

static int grow(struct queue *queue)
{
	uint32_t capacity = queue->capacity ? queue->capacity * 2 : QUEUE_FIRST_CAPACITY;
	uint32_t to_end = queue->capacity - queue->head;
	char *items;

	if (capacity > queue->most)
		return -1;
	items = malloc((size_t)capacity * queue->size);
	if (items == NULL)
		return -1;
	if (queue->length > 0) {
		memcpy(items, queue->items + (size_t)queue->head * queue->size, (size_t)to_end * queue->size);
		memcpy(items + (size_t)to_end * queue->size, queue->items, (size_t)queue->head * queue->size);
	}
	free(queue->items);
	queue->items = items;
	queue->capacity = capacity;
	queue->head = 0;
	return 0;
}

void *queue_push(struct queue *queue)
{
	if (queue->length == queue->capacity && grow(queue) < 0)
		return NULL;
	queue->length++;
	return place_of(queue, queue->length - 1);
}

void *queue_at(const struct queue *queue, uint32_t index)
{
	return index < queue->length ? place_of(queue, index) : NULL;
}

void queue_unpush(struct queue *queue)
{
	assert(queue->length > 0);
	queue->length--;
}

void queue_pop(struct queue *queue)
{
	assert(queue->length > 0);
	queue->head = (queue->head + 1) & (queue->capacity - 1);
	queue->length--;
	if (queue->length == 0 && queue->capacity > QUEUE_KEPT_CAPACITY)
		queue_done(queue);
}
