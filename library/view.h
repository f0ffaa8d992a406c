/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store as this process sees it: read-only descriptors of a few of its segments, and the contents of their slots,
 * for comparison. Both cost no more for a large store than for a small one: VIEW_FDS_MAX descriptors, and addresses for
 * VIEW_WINDOWS_MAX windows of 16 MiB. Worker thread, with the memory lock held; view_has() without.
 */
#ifndef PAGEFUSE_LIBRARY_VIEW_H
#define PAGEFUSE_LIBRARY_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "library/descriptors.h"

#define VIEW_SEGMENT_SLOTS UINT32_C(65536)
#define VIEW_SEGMENTS_MAX 16384u
#define VIEW_FDS_MAX 4u
#define VIEW_WINDOW_SLOTS UINT32_C(4096)
#define VIEW_WINDOWS_MAX 8u

/**
 * Takes over @file. If there are VIEW_FDS_MAX already, the least recently used one is closed, and has to be requested
 * again when it is needed. @return 0, -EINVAL (number or size), -EEXIST; on error @file is closed.
 */
int view_add(uint32_t segment, uint32_t slots, struct descriptor *file);
/** Closes the descriptor of a segment, and unmaps its windows; mappings of guest pages stay. */
void view_remove(uint32_t segment);
void view_remove_all(void);
/** In the child of a fork, which has inherited the descriptors but not the mappings: closes them. */
void view_forget(void);
/** Unmaps windows that were not used since the last call. */
void view_rest(void);

/**
 * Around a call that locks all of the VMM's memory: no window is mapped between these two. Any thread, with the lock
 * held; they nest.
 */
void view_hide(void);
void view_show(void);

/** Whether the descriptors for slots [slot, slot+count) are there; counts as a use of them. */
bool view_has(uint32_t slot, uint32_t count);

/** Contents that view_content() finds from here on are valid until the next call of this. */
void view_begin(void);
/**
 * Finds the content of slots [slot, slot+count), or of the first of them. @buffer: room for all. *ret_content: in
 * @buffer, or in a window that may fault when read. @return how many are at *ret_content; 0: the content is not
 * available.
 */
unsigned view_content(uint32_t slot, unsigned count, void *buffer, const void **ret_content);
/**
 * Whether all contents found since view_begin() are the store's: the VMM can close a descriptor while it is read from,
 * and have a file of its own at that number.
 */
bool view_is_true(void);

/** The descriptor and offset for mapping @slot. @return 0 or -ENOENT, also if the VMM has closed the descriptor. */
int view_place(uint32_t slot, const struct descriptor **ret_file, uint64_t *ret_offset);

#endif
