/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store as this process sees it: read-only descriptors of its segments, mapped once more for comparing. Worker
 * thread, with the memory lock held where a segment comes or goes.
 */
#ifndef PAGEFUSE_LIBRARY_VIEW_H
#define PAGEFUSE_LIBRARY_VIEW_H

#include <stdint.h>

#include "library/descriptors.h"

#define VIEW_SEGMENT_SLOTS UINT32_C(65536)
#define VIEW_SEGMENTS_MAX 16384u

/** Takes over @file. @return 0, -EINVAL (number or size), -EEXIST; on error it is closed. */
int view_add(uint32_t segment, uint32_t slots, struct descriptor *file);
/** Closes descriptor and mapping of a segment; what guest pages map of it stays. */
void view_remove(uint32_t segment);
void view_remove_all(void);
/** In the child of a fork, which has inherited the descriptors but not the mappings: closes them. */
void view_forget(void);
/** Gives the page tables of segments back that were not looked at since the last call; they are mapped when needed. */
void view_rest(void);

/**
 * While the VMM locks all of its memory: nothing is mapped for comparing from one to the other. Any thread, with the
 * lock held; they nest.
 */
void view_hide(void);
void view_show(void);

/** The content of @slot for comparing, or NULL if its segment is not known or ends before it. May fault when read. */
const void *view_slot(uint32_t slot);
/** Descriptor and offset to map @slot by. @return 0 or -ENOENT, also if the VMM has closed it. */
int view_place(uint32_t slot, const struct descriptor **ret_file, uint64_t *ret_offset);

#endif
