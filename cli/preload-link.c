/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/preload-link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/socket-path.h"

/** ld.so takes all of these as the end of a path, and knows no way to quote them; '$' it expands. */
#define NOT_IN_LD_PRELOAD " :\t\n\v\f\r$"

/** FNV-1a: links to different preloads are different ones. */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

static bool leads_to(const char *link, const char *target)
{
	char there[PATH_MAX];
	ssize_t length = readlink(link, there, sizeof(there));

	return length == (ssize_t)strlen(target) && memcmp(there, target, (size_t)length) == 0;
}

int preload_link(const char *preload, char ret_path[PATH_MAX])
{
	char directory[PATH_MAX / 2];
	int r;

	if (strpbrk(preload, NOT_IN_LD_PRELOAD) == NULL) {
		snprintf(ret_path, PATH_MAX, "%s", preload);
		return 0;
	}
	r = socket_path_own_directory(directory, sizeof(directory));
	if (r < 0)
		return r;
	if (strpbrk(directory, NOT_IN_LD_PRELOAD) != NULL)
		return -EINVAL;
	snprintf(ret_path, PATH_MAX, "%s/libpagefuse-preload-%016" PRIx64 ".so", directory, hash_of(preload));
	if (symlink(preload, ret_path) < 0 && (errno != EEXIST || !leads_to(ret_path, preload)))
		return -errno;
	return 0;
}
