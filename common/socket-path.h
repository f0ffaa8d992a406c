/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the daemon listens and everybody else looks for it, if nothing else was asked for. */
#ifndef PAGEFUSE_COMMON_SOCKET_PATH_H
#define PAGEFUSE_COMMON_SOCKET_PATH_H

#include <stddef.h>

/**
 * $PAGEFUSE_SOCKET; else /run/pagefuse/pagefused.sock for root, and for who has no $XDG_RUNTIME_DIR (a system service
 * such as a VMM under libvirt); else $XDG_RUNTIME_DIR/pagefuse/pagefused.sock. Empty variables count as unset.
 * Allocates nothing; safe wherever getenv() is.
 * @ret: @size bytes, zero terminated on success. @return 0, -ENAMETOOLONG if it does not fit @size or a socket address.
 */
int socket_path_default(char *ret, size_t size);

#endif
