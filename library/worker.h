/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's one thread: it talks to the daemon and carries out its orders. */
#ifndef PAGEFUSE_LIBRARY_WORKER_H
#define PAGEFUSE_LIBRARY_WORKER_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Starts the thread if it is not running, and connects to the daemon if there is one. Any VMM thread, without the lock.
 * @return 1 if a daemon serves this process, 0 if not (the worker keeps trying), or -errno: there is no worker.
 */
int worker_start(void);
/** Makes the worker look at regions and refusals again. Any thread, also with the lock held. */
void worker_wake(void);
/**
 * Ends the thread for good, after its last reports to the daemon, and waits until it is gone: then it makes no more
 * system calls. Any VMM thread, without the lock.
 */
void worker_end(void);
bool worker_is_connected(void);
/** CPU time that the thread has used, as of its last look at the clock. Any thread. */
uint64_t worker_cpu_nsec(void);

/** In the child of a fork: there is no worker here, and its descriptors are the parent's. */
void worker_forget(void);

#endif
