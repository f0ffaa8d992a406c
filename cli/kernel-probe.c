/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/kernel-probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/page.h"

/* Headers of Linux 6.1 lack these. */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

struct scan_argument { /* struct pm_scan_arg of <linux/fs.h> */
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_argument)
#define SCAN_PRESENT (UINT64_C(1) << 3) /* PAGE_IS_PRESENT */

static int query_features(int fd, uint64_t *ret_features)
{
	struct uffdio_api api = { .api = UFFD_API };

	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	*ret_features = api.features;
	return 0;
}

int probe_userfaultfd(uint64_t *ret_features, bool *ret_full)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), r;

	*ret_full = fd >= 0;
	if (fd < 0 && errno == EPERM)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		return -errno;
	r = query_features(fd, ret_features);
	close(fd);
	return r;
}

int probe_userfaultfd_device(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd, r = 0;

	if (device < 0)
		return -errno;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		r = -errno;
	else
		close(fd);
	close(device);
	return r;
}

int probe_pagemap_scan(void)
{
	static char page;
	uint64_t start = (uint64_t)(uintptr_t)&page & ~(PAGE_BYTES - 1);
	struct {
		uint64_t start, end, categories;
	} region;
	struct scan_argument scan = {
		.size = sizeof(scan),
		.start = start,
		.end = start + PAGE_BYTES,
		.vec = (uint64_t)(uintptr_t)&region,
		.vec_len = 1,
		.return_mask = SCAN_PRESENT,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SCAN_IOCTL, &scan) < 0)
		r = -errno;
	close(fd);
	return r;
}
