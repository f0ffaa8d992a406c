/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/locate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** Makes @path absolute, if there is a file to be used in the way that @mode (of access()) says. */
static int take_path(const char *path, int mode, char ret_path[PATH_MAX])
{
	if (realpath(path, ret_path) == NULL)
		return -errno;
	return access(ret_path, mode) < 0 ? -errno : 0;
}

/** Looks for @beside, relative to the directory of this program. */
static int take_beside(const char *beside, int mode, char ret_path[PATH_MAX])
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (length < 0)
		return -errno;
	path[length] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return -ENOENT;
	if (strlen(beside) >= sizeof(path) - (size_t)(slash + 1 - path))
		return -ENAMETOOLONG;
	strcpy(slash + 1, beside);
	return take_path(path, mode, ret_path);
}

static int locate(const char *variable, const char *beside, const char *installed, int mode, char ret_path[PATH_MAX])
{
	const char *named = getenv(variable);

	if (named != NULL && named[0] != '\0')
		return take_path(named, mode, ret_path);
	if (take_beside(beside, mode, ret_path) == 0)
		return 0;
	return take_path(installed, mode, ret_path);
}

int locate_preload(char ret_path[PATH_MAX])
{
	return locate("PAGEFUSE_PRELOAD", "../preload/libpagefuse-preload.so", PAGEFUSE_PRELOAD_INSTALLED, R_OK,
		      ret_path);
}

int locate_daemon(char ret_path[PATH_MAX])
{
	return locate("PAGEFUSED", "../daemon/pagefused", PAGEFUSED_INSTALLED, X_OK, ret_path);
}
