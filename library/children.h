/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The children that the VMM forks. One inherits the mappings of the store, so while it lives and has not called exec,
 * slots that the parent leaves may still be read by the child: the library then keeps the daemon from dropping them by
 * not telling.
 *
 * How long a child lives is seen by a pipe that it inherits: its write end is closed on exec and at the end.
 *
 * Memory lock held, unless said otherwise.
 */
#ifndef PAGEFUSE_LIBRARY_CHILDREN_H
#define PAGEFUSE_LIBRARY_CHILDREN_H

#include <stdbool.h>

/** Around a fork, see fork.h. */
void children_before_fork(void);
void children_in_parent(void);
void children_in_child(void);

/** Whether a child may still read our store mappings. */
bool children_alive(void);
/** Whether this process is itself such a child: nothing is shared here, discards are still made right. Any thread. */
bool children_is_one(void);

#endif
