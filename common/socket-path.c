/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/socket-path.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static int join(char *ret, size_t size, const char *head, const char *tail)
{
	size_t head_size = strlen(head), tail_size = strlen(tail);

	if (size > sizeof(((struct sockaddr_un *)NULL)->sun_path))
		size = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	if (head_size >= size || tail_size >= size - head_size)
		return -ENAMETOOLONG;
	memcpy(ret, head, head_size);
	memcpy(ret + head_size, tail, tail_size + 1);
	return 0;
}

int socket_path_usual(char *ret, size_t size)
{
	const char *runtime = geteuid() == 0 ? NULL : environment("XDG_RUNTIME_DIR");

	return join(ret, size, runtime ? runtime : "/run", "/pagefuse/pagefused.sock");
}

int socket_path_default(char *ret, size_t size)
{
	const char *path = environment("PAGEFUSE_SOCKET");

	return path ? join(ret, size, path, "") : socket_path_usual(ret, size);
}

/** Whether @directory belongs to the caller and its mode denies others the bits @closed. */
static bool is_of_caller(const char *directory, mode_t closed)
{
	struct stat st;

	if (lstat(directory, &st) < 0 || !S_ISDIR(st.st_mode))
		return false;
	return st.st_uid == geteuid() && (st.st_mode & closed) == 0;
}

static void directory_in_tmp(char *ret, size_t size)
{
	snprintf(ret, size, "/tmp/pagefuse-%u", (unsigned)geteuid());
}

bool socket_path_is_in_tmp(const char *path)
{
	char directory[64];

	directory_in_tmp(directory, sizeof(directory));
	return strncmp(path, directory, strlen(directory)) == 0 && path[strlen(directory)] == '/';
}

/** For users without $XDG_RUNTIME_DIR. */
static int choose_directory(char *ret, size_t size)
{
	char runtime[64];

	snprintf(runtime, sizeof(runtime), "/run/user/%u", (unsigned)geteuid());
	if (is_of_caller(runtime, 077))
		return join(ret, size, runtime, "/pagefuse");
	directory_in_tmp(runtime, sizeof(runtime));
	return join(ret, size, runtime, "");
}

int socket_path_own(char *ret, size_t size)
{
	char directory[64];
	int r;

	if (geteuid() == 0 || environment("PAGEFUSE_SOCKET") || environment("XDG_RUNTIME_DIR"))
		return -ENOENT;
	r = choose_directory(directory, sizeof(directory));
	return r < 0 ? r : join(ret, size, directory, "/pagefused.sock");
}

int socket_path_own_directory(char *ret, size_t size)
{
	const char *runtime = geteuid() == 0 ? "/run" : environment("XDG_RUNTIME_DIR");
	int r = runtime ? join(ret, size, runtime, "/pagefuse") : choose_directory(ret, size);

	if (r < 0)
		return r;
	if (mkdir(ret, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST)
		return -errno;
	return is_of_caller(ret, 022) ? 0 : -EPERM;
}

int socket_path_make_directory(const char *path)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path)
		return 0;
	if ((size_t)(slash - path) >= sizeof(directory))
		return -ENAMETOOLONG;
	memcpy(directory, path, (size_t)(slash - path));
	directory[slash - path] = '\0';
	if (mkdir(directory, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST)
		return -errno;
	return socket_path_is_in_tmp(path) && !is_of_caller(directory, 077) ? -EPERM : 0;
}

int socket_path_check_peer(const char *path, int socket)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (!socket_path_is_in_tmp(path))
		return 0;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	return peer.uid == geteuid() ? 0 : -EPERM;
}
