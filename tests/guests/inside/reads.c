/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "sum.h"

#define DISK "/dev/vda"
#define BLOCK_BYTES ((size_t)4096)
#define BLOCKS 8192u
#define STRIDE 4099u /* has no factor in common with the number of blocks, so each comes once */

static char *pages;

static int map(void)
{
	if (pages != NULL)
		return 0;
	pages = mmap(NULL, BLOCKS * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages != MAP_FAILED)
		return 0;
	pages = NULL;
	return -errno;
}

int reads_fill(void)
{
	static uint64_t content;
	int r = map();

	for (size_t i = 0; r == 0 && i < BLOCKS; i++)
		for (size_t word = 0; word < BLOCK_BYTES / sizeof(content); word++)
			((uint64_t *)(pages + i * BLOCK_BYTES))[word] = ++content;
	return r;
}

static uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int read_all(int disk, bool random)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		size_t block = random ? (i + 1) * STRIDE % BLOCKS : i;
		ssize_t length = pread(disk, pages + block * BLOCK_BYTES, BLOCK_BYTES, (off_t)(block * BLOCK_BYTES));

		if (length != (ssize_t)BLOCK_BYTES)
			return length < 0 ? -errno : -EIO;
	}
	return 0;
}

int reads_time(bool random, uint64_t *ret_usec, uint64_t *ret_sum)
{
	int disk = open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC), r = map();
	uint64_t began = now_usec();

	if (disk < 0)
		return -errno;
	if (r == 0)
		r = read_all(disk, random);
	*ret_usec = now_usec() - began;
	close(disk);
	if (r == 0)
		*ret_sum = sum_bytes(SUM_START, pages, BLOCKS * BLOCK_BYTES);
	return r;
}
