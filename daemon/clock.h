/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PAGEFUSE_DAEMON_CLOCK_H
#define PAGEFUSE_DAEMON_CLOCK_H

#include <stdint.h>
#include <time.h>

/** CLOCK_MONOTONIC, microseconds. */
static inline uint64_t clock_now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
