/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/locate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/** Makes @path absolute, if there is a file to be used in the way that @mode (of access()) says. */
static int take_path(const char *path, int mode, char ret_path[PATH_MAX])
{
	if (realpath(path, ret_path) == NULL)
		return -errno;
	return access(ret_path, mode) < 0 ? -errno : 0;
}

/**
 * A file found beside this program, outside root's installation, has to belong to root, the caller or this program's
 * owner, and not be writable for everybody: a copy of this program in /tmp must not use a file that another user put
 * there.
 */
static int check_owner(const char *path)
{
	struct stat st, ours;

	if (stat(path, &st) < 0 || stat("/proc/self/exe", &ours) < 0)
		return -errno;
	if ((st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != ours.st_uid) || (st.st_mode & S_IWOTH) != 0)
		return -EPERM;
	return 0;
}

/** The directory of this program, with '/' at its end and @room bytes for more. */
static int own_directory(char ret[PATH_MAX], size_t room)
{
	ssize_t length = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (length < 0)
		return -errno;
	ret[length] = '\0';
	slash = strrchr(ret, '/');
	if (slash == NULL)
		return -ENOENT;
	slash[1] = '\0';
	return strlen(ret) + room >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/** Looks for @beside, relative to the directory of this program. */
static int take_beside(const char *beside, int mode, char ret_path[PATH_MAX])
{
	char path[PATH_MAX];
	int r = own_directory(path, strlen(beside));

	if (r < 0)
		return r;
	strcat(path, beside);
	r = take_path(path, mode, ret_path);
	return r < 0 ? r : check_owner(ret_path);
}

/**
 * Looks for @installed in a tree that was moved as a whole, or is not in its place yet: /usr/bin/pagefuse and
 * /usr/lib/x.so are TREE/usr/bin/pagefuse and TREE/usr/lib/x.so, also if /usr is called otherwise now. The part of the
 * directories that is not common to both has to be the same here.
 */
static int take_moved(const char *installed, int mode, char ret_path[PATH_MAX])
{
	static const char bindir[] = PAGEFUSE_BINDIR "/";
	char path[PATH_MAX];
	size_t common = 0, length, own;
	int r = own_directory(path, strlen(installed));

	if (r < 0)
		return r;
	for (size_t i = 0; bindir[i] != '\0' && bindir[i] == installed[i]; i++)
		if (bindir[i] == '/')
			common = i + 1;
	own = strlen(bindir + common);
	length = strlen(path);
	if (common == 0 || length < own || strcmp(path + length - own, bindir + common) != 0 ||
	    (length > own && path[length - own - 1] != '/'))
		return -ENOENT;
	strcpy(path + length - own, installed + common);
	r = take_path(path, mode, ret_path);
	return r < 0 ? r : check_owner(ret_path);
}

static int locate(const char *variable, const char *beside, const char *installed, int mode, char ret_path[PATH_MAX])
{
	const char *named = getenv(variable);

	if (named != NULL && named[0] != '\0')
		return take_path(named, mode, ret_path);
	if (take_beside(beside, mode, ret_path) == 0 || take_moved(installed, mode, ret_path) == 0)
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
