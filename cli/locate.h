/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the other parts of pagefuse are: where the environment says; else beside this program, in a build tree or in an
 * installed one, wherever that was moved to; else where they were to be installed.
 */
#ifndef PAGEFUSE_CLI_LOCATE_H
#define PAGEFUSE_CLI_LOCATE_H

#include <limits.h>

/** Both give an absolute path. @return 0, -ENOENT if there is none where looked, -ENAMETOOLONG, -errno. */
int locate_preload(char ret_path[PATH_MAX]); /* or $PAGEFUSE_PRELOAD */
int locate_daemon(char ret_path[PATH_MAX]);  /* or $PAGEFUSED */

#endif
