/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's one thread: it talks to the daemon and carries out its orders. */
#ifndef PAGEFUSE_LIBRARY_WORKER_H
#define PAGEFUSE_LIBRARY_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/wire.h"

/** Settings of the process: from the API, else from the environment. Before the first region; not thread safe. */
struct worker_options {
	char name[WIRE_NAME_MAX];
	char socket_path[108];
	enum wire_mode mode;
};
extern struct worker_options worker_options;
/** Fills in what has not been set from $PAGEFUSE_NAME, $PAGEFUSE_MODE, $PAGEFUSE_SOCKET and defaults. */
void worker_options_complete(void);

/**
 * Starts the thread if it does not run, and connects to the daemon if there is one. Any VMM thread, without the lock.
 * @return 1 if a daemon serves this process, 0 if not (the worker goes on trying), or -errno: there is no worker.
 */
int worker_start(void);
/** Makes the worker look at regions and refusals again. Any thread, also with the lock held. */
void worker_wake(void);
bool worker_is_connected(void);

/** Notes that @bytes of memory are left alone for a reason, in addition. Any thread. */
void worker_refuse(uint32_t reason, uint64_t bytes);
uint64_t worker_refused_bytes(void);

/** Between these no order is carried out; they nest. Any thread, without the lock. */
void worker_pause(void);
void worker_resume(void);

/** In the child of a fork: there is no worker here, and its descriptors are the parent's. */
void worker_forget(void);

uint64_t worker_cpu_nsec(void);

#endif
