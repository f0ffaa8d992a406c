/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The children that the VMM forks. A child inherits the mappings of the store, so until it exits or calls exec, it may
 * still read slots that the parent has left. Meanwhile the library does not report these slots, so that the daemon does
 * not drop them.
 *
 * Memory lock held, unless said otherwise.
 */
#ifndef PAGEFUSE_LIBRARY_CHILDREN_H
#define PAGEFUSE_LIBRARY_CHILDREN_H

#include <stdbool.h>

/** Before anything is shared: from now on children are tracked. @return 0 or -errno: nothing may be shared. */
int children_watch(void);

/** A fork is about to happen, or has happened: there may be a new child that shares pages. */
void children_note_fork(void);
/** Children are no longer tracked: there is no worker. */
void children_end(void);
/** In the child. */
void children_in_child(void);

/**
 * Whether a child may still read our store mappings. Worker only, so that no fork is under way. Returns true if that
 * cannot be determined for lack of memory, mappings or descriptors; the next call looks again.
 */
bool children_alive(void);
/**
 * Whether this process is itself such a child: nothing is shared here, but discards are still handled correctly. Any
 * thread.
 */
bool children_is_one(void);

#endif
