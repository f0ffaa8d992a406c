/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * By which VMM threads wake the worker: a pair of datagram sockets. All datagrams are empty: should a number lead to
 * another file after all, neither sending nor receiving nothing does anything to it, unless it takes datagrams itself.
 */
#ifndef PAGEFUSE_LIBRARY_WAKE_H
#define PAGEFUSE_LIBRARY_WAKE_H

#include <stdbool.h>

/** Opens it, if it is not there. With the memory lock held. @return 0 or -errno. */
int wake_open(void);
/** In the child of a fork. */
void wake_close(void);
/** For poll(). */
int wake_number(void);
/** Any VMM thread, with the memory lock held or not. Lost if the VMM has closed it, until the worker opens it anew. */
void wake_send(void);
/** Worker: takes all that were sent. @return whether there were any. */
bool wake_receive(void);

#endif
