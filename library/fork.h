/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a fork of the VMM does to the library: no hold may be in flight, and the child forgets the worker, which it does
 * not have, and the memory that was not inherited.
 *
 * The handlers are registered when the library is loaded, so that no fork is under way without them when the first
 * region comes. Their order among the VMM's own handlers makes no difference: no lock is held between them, see lock.h.
 * In a child, handlers of the VMM may call the library before its own handler has run: a page that the kernel wipes in
 * children shows this.
 */
#ifndef PAGEFUSE_LIBRARY_FORK_H
#define PAGEFUSE_LIBRARY_FORK_H

/** Makes that page. To be called before any thread takes the lock for the first time; any thread. */
void fork_watch(void);
/** Whether forks are seen. Any thread. @return 0 or -errno: there must be no region then. */
int fork_watched(void);

/**
 * Around fork in the parent, and afterwards in the child. Called by the preload, too, for forks that bypass the
 * handlers (_Fork, clone without CLONE_VM). They may nest, where the VMM's handlers fork.
 */
void fork_prepare(void);
void fork_parent(void);
void fork_child(void);

/**
 * Called whenever a thread enters the library: turns this process into a child if it is one whose handler has not run
 * yet, or never will.
 */
void fork_notice(void);

#endif
