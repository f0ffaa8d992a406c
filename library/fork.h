/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a fork of the VMM does to the library: no hold may be in flight, and the child, which has neither the worker nor
 * what was not inherited, forgets both.
 */
#ifndef PAGEFUSE_LIBRARY_FORK_H
#define PAGEFUSE_LIBRARY_FORK_H

/** Registers the three handlers below, before the worker starts; once. Any thread. @return 0 or -errno. */
int fork_watch(void);

/** Around fork in the parent, and afterwards in the child. Called by the preload, too, for forks that pass handlers by
 * (_Fork, syscall(SYS_clone) without CLONE_VM). */
void fork_prepare(void);
void fork_parent(void);
void fork_child(void);

#endif
