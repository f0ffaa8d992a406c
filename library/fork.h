/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a fork of the VMM does to the library: no hold may be in flight, and the child, which has neither the worker nor
 * what was not inherited, forgets both.
 *
 * The handlers are registered when the library is loaded, so that no fork is under way without them when the first
 * region comes. Where they run among the VMM's own makes no difference: nothing is held between them, see lock.h. In a
 * child, handlers of the VMM may come here before the library's own has run: a page that the kernel wipes in children
 * tells.
 */
#ifndef PAGEFUSE_LIBRARY_FORK_H
#define PAGEFUSE_LIBRARY_FORK_H

/** Makes the page. Before a thread takes the lock for the first time; any thread. */
void fork_watch(void);
/** Whether forks are seen. Any thread. @return 0 or -errno: there must be no region then. */
int fork_watched(void);

/**
 * Around fork in the parent, and afterwards in the child. Called by the preload, too, for forks that pass handlers by
 * (_Fork, clone without CLONE_VM). They may nest, where the VMM's handlers fork.
 */
void fork_prepare(void);
void fork_parent(void);
void fork_child(void);

/** Whenever a thread comes in: makes this a child if it is one whose handler has not run yet, or never will. */
void fork_notice(void);

#endif
