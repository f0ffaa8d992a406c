/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/socket-path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

int socket_path_default(char *ret, size_t size)
{
	const char *path = environment("PAGEFUSE_SOCKET"), *runtime;

	if (path)
		return join(ret, size, path, "");
	runtime = geteuid() == 0 ? NULL : environment("XDG_RUNTIME_DIR");
	return join(ret, size, runtime ? runtime : "/run", "/pagefuse/pagefused.sock");
}
