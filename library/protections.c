/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Switches of the test builds; empty otherwise. */
#include "library/protections.h"

#include "library/sys.h"

#ifdef PAGEFUSE_TEST_CONTROLS
#include <stdatomic.h>

uint64_t protections_off;
bool hold_length_stays;
bool closing_is_awaited;
struct sys_fail sys_fail;
void (*_Atomic sys_watch)(long number, long second);

int sys_fail_now(long number, long second)
{
	void (*watch)(long number, long second) = atomic_load_explicit(&sys_watch, memory_order_acquire);

	if (watch != NULL)
		watch(number, second);
	if (atomic_load_explicit(&sys_fail.countdown, memory_order_acquire) <= 0)
		return 0;
	if (sys_fail.number != -1 && sys_fail.number != number)
		return 0;
	if (atomic_fetch_sub(&sys_fail.countdown, 1) != 1)
		return 0;
	if (sys_fail.for_ever)
		atomic_store(&sys_fail.countdown, 1);
	return sys_fail.error;
}
#endif
