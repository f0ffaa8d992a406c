/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds VMs by what a CLI knows: by name, and by the serial number of their connection. A lookup does not walk over all
 * VMs. The index does not know what its entries belong to.
 */
#ifndef PAGEFUSE_DAEMON_INDEX_H
#define PAGEFUSE_DAEMON_INDEX_H

#include <stdint.h>

/** Embedded in the indexed object, under @name, which has to stay in place, or under @number. */
struct index_entry {
	const char *name;
	uint64_t number;
	void *of; /* NULL: it is in no index */
};

struct index {
	void *root;
	int (*compare)(const void *, const void *);
};

void index_init_names(struct index *index);
void index_init_numbers(struct index *index);

/** Adds @entry, of @of, which is in no index. @return 0, -EEXIST, -ENOMEM. */
int index_add(struct index *index, struct index_entry *entry, void *of);
/** Removes @entry, unless it is in no index. */
void index_remove(struct index *index, struct index_entry *entry);

/** @return what was given as @of, or NULL. */
void *index_find_name(const struct index *index, const char *name);
void *index_find_number(const struct index *index, uint64_t number);

#endif
