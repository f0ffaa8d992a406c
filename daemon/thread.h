/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread beside the event loop's. It works on copies, and knows nothing else of the daemon. */
#ifndef PAGEFUSE_DAEMON_THREAD_H
#define PAGEFUSE_DAEMON_THREAD_H

#include <pthread.h>

/**
 * Starts @main(@argument) with all signals blocked: sd-event handles the ones that are used, the loop's thread all
 * others. The caller has to join it. @name: at most 15 characters, shown in /proc. @return 0 or -errno.
 */
int thread_start(pthread_t *ret_thread, const char *name, void *(*main)(void *), void *argument);

#endif
