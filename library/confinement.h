/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System call filters (seccomp) of this process. Those that are seen coming are told apart by running them, see
 * filter.h. One that was not, as it was inherited, cannot be read, and is taken to be one that ends the process at what
 * the library calls.
 */
#ifndef PAGEFUSE_LIBRARY_CONFINEMENT_H
#define PAGEFUSE_LIBRARY_CONFINEMENT_H

#include <linux/filter.h>
#include <stdbool.h>

/**
 * A filter is about to come into force, in whatever thread. @return whether the library can go on under it: then it
 * counts as known. Makes no call.
 */
bool confinement_expect(const struct sock_fprog *program);
/** It has not come into force after all. */
void confinement_failed(void);

/**
 * Whether this thread is under a filter that is not known, and that $PAGEFUSE_SECCOMP does not promise to be harmless
 * (the number of filters inherited that are). Calls nothing but what reads a file of /proc. @return 1, 0, or -errno if
 * it cannot be told.
 */
int confinement_is_unknown(void);

#endif
