/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/index.h"

#include <errno.h>
#include <search.h>
#include <string.h>

static int by_name(const void *left, const void *right)
{
	const struct index_entry *a = left, *b = right;

	return strcmp(a->name, b->name);
}

static int by_number(const void *left, const void *right)
{
	const struct index_entry *a = left, *b = right;

	return a->number < b->number ? -1 : a->number > b->number;
}

void index_init_names(struct index *index)
{
	*index = (struct index){ .compare = by_name };
}

void index_init_numbers(struct index *index)
{
	*index = (struct index){ .compare = by_number };
}

int index_add(struct index *index, struct index_entry *entry, void *of)
{
	struct index_entry **place = tsearch(entry, &index->root, index->compare);

	if (place == NULL)
		return -ENOMEM;
	if (*place != entry)
		return -EEXIST;
	entry->of = of;
	return 0;
}

void index_remove(struct index *index, struct index_entry *entry)
{
	if (entry->of != NULL)
		(void)tdelete(entry, &index->root, index->compare);
	entry->of = NULL;
}

static void *find(const struct index *index, const struct index_entry *like)
{
	struct index_entry **place = tfind(like, &index->root, index->compare);

	return place ? (*place)->of : NULL;
}

void *index_find_name(const struct index *index, const char *name)
{
	return find(index, &(struct index_entry){ .name = name });
}

void *index_find_number(const struct index *index, uint64_t number)
{
	return find(index, &(struct index_entry){ .number = number });
}
