/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The children that the VMM forks. One inherits the mappings of the store, so while it lives and has not called exec,
 * slots that the parent leaves may still be read by the child: the library then keeps the daemon from dropping them by
 * not telling.
 *
 * Memory lock held, unless said otherwise.
 */
#ifndef PAGEFUSE_LIBRARY_CHILDREN_H
#define PAGEFUSE_LIBRARY_CHILDREN_H

#include <stdbool.h>

/** Before anything is shared: from now on children are seen. @return 0 or -errno: nothing may be shared. */
int children_watch(void);

/** A fork is about to be made, or has been: a child may have come that shares. */
void children_note_fork(void);
/** Children need not be known any more: there is no worker. */
void children_end(void);
/** In the child. */
void children_in_child(void);

/**
 * Whether a child may still read our store mappings. Worker only, so that no fork is under way. If it cannot be told
 * for want of memory, mappings or descriptors, then one does; the next call looks again.
 */
bool children_alive(void);
/** Whether this process is itself such a child: nothing is shared here, discards are still made right. Any thread. */
bool children_is_one(void);

#endif
