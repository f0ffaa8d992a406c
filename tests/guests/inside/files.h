/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of the guest's disk image: which there are, read them all, check them. A list has one line per file,
 * "sum size path", made on the host from the files that went into the image, and comes with the initramfs: what a guest
 * reads is checked against what it should be, not only against what it read before.
 */
#ifndef PAGEFUSE_TESTS_GUESTS_FILES_H
#define PAGEFUSE_TESTS_GUESTS_FILES_H

#include <stddef.h>
#include <stdint.h>

struct files_result {
	uint64_t sum; /* over the sums of all files, in whatever order */
	uint64_t bytes;
	unsigned files;
	unsigned wrong; /* unreadable, or another sum or size than the list says; each is named on stderr */
};

/**
 * Reads the files of @list_path, with paths taken below @root, through the page cache.
 * @return 0, or -errno if the list itself cannot be read.
 */
int files_read(const char *list_path, const char *root, struct files_result *ret);

/** Sum and size of one file. @return 0 or -errno. */
int files_sum_one(const char *path, uint64_t *ret_sum, uint64_t *ret_bytes);

#endif
