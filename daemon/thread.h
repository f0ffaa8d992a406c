/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread beside the loop's: it is given copies of what it works on, and knows nothing else of the daemon. */
#ifndef PAGEFUSE_DAEMON_THREAD_H
#define PAGEFUSE_DAEMON_THREAD_H

#include <pthread.h>

/**
 * Starts @main(@argument) with all signals blocked: sd-event has those that count, the loop's thread all others.
 * It has to be joined. @name: at most 15 characters, for who looks at /proc. @return 0 or -errno.
 */
int thread_start(pthread_t *ret_thread, const char *name, void *(*main)(void *), void *argument);

#endif
