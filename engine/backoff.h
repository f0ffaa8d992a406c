/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Backing off from a store that has no room. After a failure nothing is tried for a second, and twice as long after
 * each further one, up to BACKOFF_MAX_USEC. Then one slot is tried, and one more at the same time for each that
 * succeeds. So there are at most as many failed attempts as successes, plus one for each wait.
 */
#ifndef PAGEFUSE_ENGINE_BACKOFF_H
#define PAGEFUSE_ENGINE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_MAX_USEC UINT64_C(16000000)

struct backoff {
	bool full;            /* there was a failure, and too few successes since to forget it */
	uint32_t window;      /* slots to be tried at the same time while it is full */
	uint64_t wait_usec;   /* length of the wait after the last failure; 0: something has succeeded since */
	uint64_t retry_usec;  /* nothing is tried before */
	uint64_t failed_usec; /* the last failure */
};

/** A slot could not be filled, or a segment not added; or a slot was filled. @now_usec: the engine's clock. */
void backoff_failed(struct backoff *backoff, uint64_t now_usec);
void backoff_succeeded(struct backoff *backoff);
/** The wait is over: memory was freed, or a pass was requested. */
void backoff_retry_now(struct backoff *backoff);
/** Forgets a failure that was long ago, if something has succeeded since. */
void backoff_tick(struct backoff *backoff, uint64_t now_usec);

/** Whether nothing may be tried now. */
static inline bool backoff_waits(const struct backoff *backoff, uint64_t now_usec)
{
	return backoff->full && now_usec < backoff->retry_usec;
}

/** Whether one more may be tried while @under_way are. */
static inline bool backoff_allows(const struct backoff *backoff, uint64_t now_usec, uint32_t under_way)
{
	return !backoff->full || (now_usec >= backoff->retry_usec && under_way < backoff->window);
}

#endif
