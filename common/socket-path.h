/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the daemon listens and everybody else looks for it, if nothing else was asked for. The library looks at the
 * default place only: a VMM that is a service may be started before the system's daemon.
 */
#ifndef PAGEFUSE_COMMON_SOCKET_PATH_H
#define PAGEFUSE_COMMON_SOCKET_PATH_H

#include <stdbool.h>
#include <stddef.h>

/**
 * $PAGEFUSE_SOCKET; else /run/pagefuse/pagefused.sock for root, and for who has no $XDG_RUNTIME_DIR (a system service
 * such as a VMM under libvirt); else $XDG_RUNTIME_DIR/pagefuse/pagefused.sock. Empty variables count as unset.
 * Allocates nothing; safe wherever getenv() is.
 * @ret: @size bytes, zero terminated on success. @return 0, -ENAMETOOLONG if it does not fit @size or a socket address.
 */
int socket_path_default(char *ret, size_t size);

/** The same, whatever $PAGEFUSE_SOCKET says. */
int socket_path_usual(char *ret, size_t size);

/**
 * The place of a private daemon of a user whose environment names none, used if no daemon of root's answers:
 * /run/user/UID/pagefuse/pagefused.sock if that directory exists, else /tmp/pagefuse-UID/pagefused.sock.
 * @return 0, -ENOENT if only socket_path_default() counts (for root, or if the environment names a place).
 */
int socket_path_own(char *ret, size_t size);

/** Whether @path is in the directory in /tmp that socket_path_own() may choose, which only the caller may use. */
bool socket_path_is_in_tmp(const char *path);

/**
 * The directory of the user's own place: /run/pagefuse for root, $XDG_RUNTIME_DIR/pagefuse, or one as socket_path_own()
 * chooses; made if it is not there. Nobody else can change what is in it.
 * @return 0, -EPERM if somebody else could, -ENAMETOOLONG, -errno.
 */
int socket_path_own_directory(char *ret, size_t size);

/**
 * Makes the directory that the socket @path is in, if it is not there. One in /tmp, where anybody could have made it,
 * has to be the caller's alone. @return 0, -EPERM if it is not, -errno.
 */
int socket_path_make_directory(const char *path);

/**
 * Whether what answers on the connected @socket may be believed. A directory in /tmp that was removed can be made anew
 * by anybody, so at a path in there it has to be the caller's own. @return 0, -EPERM, -errno.
 */
int socket_path_check_peer(const char *path, int socket);

#endif
