/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* LD_PRELOAD cannot hold a path with blanks or colons; a link to it can stand in for it. */
#ifndef PAGEFUSE_CLI_PRELOAD_LINK_H
#define PAGEFUSE_CLI_PRELOAD_LINK_H

#include <limits.h>

/**
 * A path for LD_PRELOAD that leads to @preload: itself if it can be, else a link in the user's own directory, see
 * socket_path_own_directory(), which stays: programs that the VMM runs are preloaded, too.
 * @return 0, -EINVAL if that directory's path has blanks or colons itself, -errno.
 */
int preload_link(const char *preload, char ret_path[PATH_MAX]);

#endif
