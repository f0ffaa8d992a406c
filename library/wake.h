/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pair of datagram sockets, by which VMM threads wake the worker. All datagrams are empty: if a number leads to
 * another file after all, sending or receiving an empty one does nothing to that file, unless it takes datagrams
 * itself.
 */
#ifndef PAGEFUSE_LIBRARY_WAKE_H
#define PAGEFUSE_LIBRARY_WAKE_H

#include <poll.h>
#include <stdbool.h>

/** Opens the pair, if it is not open. With the memory lock held. @return 0 or -errno. */
int wake_open(void);
/** In the child of a fork. */
void wake_close(void);
/** The number for poll(). */
int wake_number(void);
/**
 * Any VMM thread, with the memory lock held or not. Lost if the VMM has closed the sender, until the worker reopens it.
 */
void wake_send(void);
/**
 * poll(), also where the kernel refuses it since RLIMIT_NOFILE is lower than @count: a VMM may have set that to 0, so
 * that it can open nothing more. Then nobody is waited for, but time passes, and any of @fds may be ready. @timeout_ms:
 * 0 or more.
 */
int wake_poll(struct pollfd *fds, unsigned count, int timeout_ms);
/** Worker: receives all datagrams. @return whether there were any. */
bool wake_receive(void);

#endif
