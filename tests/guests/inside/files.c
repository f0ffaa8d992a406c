/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of files.h. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "sum.h"

#define CHUNK_BYTES (128 * 1024)
#define PATH_BYTES 1024

/* Reads until @length bytes are there or the file ends, so that pieces are multiples of 8 bytes but for the last. */
static ssize_t read_full(int fd, char *buffer, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = read(fd, buffer + done, length - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int files_sum_one(const char *path, uint64_t *ret_sum, uint64_t *ret_bytes)
{
	static char buffer[CHUNK_BYTES];
	uint64_t sum = SUM_START, bytes = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	while ((n = read_full(fd, buffer, sizeof(buffer))) > 0) {
		sum = sum_bytes(sum, buffer, (size_t)n);
		bytes += (uint64_t)n;
	}
	close(fd);
	if (n < 0)
		return (int)n;
	*ret_sum = sum;
	*ret_bytes = bytes;
	return 0;
}

static void check_one(const char *root, const char *name, uint64_t want_sum, uint64_t want_bytes,
		      struct files_result *ret)
{
	char path[PATH_BYTES];
	uint64_t sum = 0, bytes = 0;
	int r;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	r = files_sum_one(path, &sum, &bytes);
	if (r < 0 || sum != want_sum || bytes != want_bytes) {
		ret->wrong++;
		fprintf(stderr, "guest: file %s: error %d, or sum %016" PRIx64 " of %" PRIu64 " bytes is wrong\n",
			path, r, sum, bytes);
	}
	ret->sum += sum_word(sum, bytes);
	ret->bytes += bytes;
	ret->files++;
}

int files_read(const char *list_path, const char *root, struct files_result *ret)
{
	char name[PATH_BYTES / 2];
	uint64_t sum, bytes;
	FILE *list = fopen(list_path, "re");

	if (!list)
		return -errno;
	*ret = (struct files_result){ 0 };
	while (fscanf(list, "%" SCNx64 " %" SCNu64 " %511[^\n]", &sum, &bytes, name) == 3)
		check_one(root, name, sum, bytes, ret);
	fclose(list);
	return 0;
}
