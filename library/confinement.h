/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System call filters (seccomp) of this process. A filter that the library sees being installed is judged by running
 * it, see filter.h. An inherited filter cannot be read, and is assumed to kill the process when the library makes its
 * calls.
 */
#ifndef PAGEFUSE_LIBRARY_CONFINEMENT_H
#define PAGEFUSE_LIBRARY_CONFINEMENT_H

#include <linux/filter.h>
#include <stdbool.h>

/**
 * A filter is about to come into force, in any thread. @return whether the library can go on under it: then the filter
 * counts as known. Makes no system call.
 */
bool confinement_expect(const struct sock_fprog *program);
/** The filter has not come into force after all. */
void confinement_failed(void);

/**
 * Whether this thread is under a filter that is neither known nor promised to be harmless by $PAGEFUSE_SECCOMP (the
 * number of harmless inherited filters). Makes only the system calls that read a file of /proc. @return 1, 0, or -errno
 * if this cannot be determined.
 */
int confinement_is_unknown(void);

#endif
