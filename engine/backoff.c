/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/backoff.h"

#define WAIT_MIN_USEC UINT64_C(1000000)
#define FORGET_USEC UINT64_C(60000000)
#define WINDOW_ENOUGH 64u /* after this many successes the store has room */

void backoff_failed(struct backoff *backoff, uint64_t now_usec)
{
	bool late = backoff_waits(backoff, now_usec); /* begun before the failure that it is waiting for now */

	backoff->full = true;
	backoff->window = 1;
	backoff->failed_usec = now_usec;
	if (late)
		return;
	backoff->wait_usec = backoff->wait_usec > 0 ? backoff->wait_usec * 2 : WAIT_MIN_USEC;
	if (backoff->wait_usec > BACKOFF_MAX_USEC)
		backoff->wait_usec = BACKOFF_MAX_USEC;
	backoff->retry_usec = now_usec + backoff->wait_usec;
}

void backoff_succeeded(struct backoff *backoff)
{
	backoff->wait_usec = 0;
	if (backoff->full && ++backoff->window > WINDOW_ENOUGH)
		backoff->full = false;
}

void backoff_retry_now(struct backoff *backoff)
{
	backoff->retry_usec = 0;
}

void backoff_tick(struct backoff *backoff, uint64_t now_usec)
{
	if (backoff->full && backoff->wait_usec == 0 && now_usec - backoff->failed_usec >= FORGET_USEC)
		backoff->full = false;
}
