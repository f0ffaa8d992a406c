/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts a pagefused of the user's own, which ends with its last VMM. */
#ifndef PAGEFUSE_CLI_PRIVATE_DAEMON_H
#define PAGEFUSE_CLI_PRIVATE_DAEMON_H

#include <limits.h>

/** How long it may take to get ready. */
#define PRIVATE_DAEMON_DEADLINE_SECONDS 30

/**
 * Starts the program at @daemon with --private --socket @socket_path and returns once it has said that it is ready. It
 * is nobody's child afterwards, in a session of its own, with none of our descriptors; its output goes to a file beside
 * the socket, whose path is put into @ret_log in any case. Makes the socket's directory if it is missing.
 * @return 0, -ECHILD (it ended), -ETIMEDOUT (not ready in time, killed), -errno.
 */
int private_daemon_start(const char *daemon, const char *socket_path, char ret_log[PATH_MAX]);

#endif
