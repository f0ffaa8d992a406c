/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Forks of the VMM. A child inherits the mappings of the store, so while it lives and has not called exec, slots that
 * the parent leaves may still be read by the child: the library then keeps the daemon from dropping them by not
 * telling.
 *
 * How long a child lives is seen by a pipe that it inherits: its write end is closed on exec and at the end.
 */
#ifndef PAGEFUSE_LIBRARY_FORK_H
#define PAGEFUSE_LIBRARY_FORK_H

#include <stdbool.h>

/** Registers the handlers, before the worker starts; again, does nothing. One thread at a time. @return 0 or -errno. */
int fork_watch(void);
/** Whether a child may still read our store mappings. Memory lock held. */
bool fork_child_alive(void);
/** Whether this process is itself such a child: nothing is shared here, discards are still made right. */
bool fork_is_child(void);

#endif
