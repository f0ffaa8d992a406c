/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PAGEFUSE_DAEMON_CLOCK_H
#define PAGEFUSE_DAEMON_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_usec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/** CLOCK_MONOTONIC, microseconds. */
static inline uint64_t clock_now_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

/** CPU time of this thread, microseconds. */
static inline uint64_t clock_cpu_usec(void)
{
	return clock_usec(CLOCK_THREAD_CPUTIME_ID);
}

#endif
