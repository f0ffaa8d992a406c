/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file system of the test's own: two files of the same bytes, served by processes beside it, which say themselves
 * when a read is answered.
 */
#ifndef PAGEFUSE_TESTS_SUPPORT_FUSE_H
#define PAGEFUSE_TESTS_SUPPORT_FUSE_H

#include <stddef.h>
#include <stdint.h>

/** Files in the folder. The second does direct I/O without being asked to (FOPEN_DIRECT_IO). */
#define FUSE_CACHED "cached"
#define FUSE_UNCACHED "uncached"

#define FUSE_READ_BYTES_MAX (1u << 17)

/** A read that waits for its answer. */
struct fuse_read {
	int fuse;
	uint64_t unique;
	uint64_t offset;
	uint32_t length;
};

struct fuse_plan {
	const char *folder; /* that it is mounted on */
	uint64_t file_bytes;
	unsigned servers; /* processes */
	/** Each server begins. May be NULL. */
	void (*begin)(void);
	/** Has this read be answered by fuse_reply(), by this process or another. */
	void (*read)(const struct fuse_read *read);
};

/**
 * Mounts it, in a mount namespace that the caller has made, and starts the servers, which live as long as this thread.
 * @return 0, or -errno: there is no such file system to be had.
 */
int fuse_begin(const struct fuse_plan *plan);

/** @length: at most what was asked for. */
void fuse_reply(const struct fuse_read *read, const void *data, size_t length);

#endif
