/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bracket of forward.h. */
#include "preload/forward.h"

#include <errno.h>
#include <sys/syscall.h>

#include "library/visits.h"
#include "preload/next.h"

bool forward_ready;

int change_begin(const struct change *change)
{
	int saved = errno;
	int r;

	if (!change->tell)
		return 0;
	r = memory_change_begin(change->what, change->address, change->length, change->detail);
	errno = r < 0 ? -r : saved;
	return r < 0 ? -1 : r;
}

void change_end(const struct change *change, bool succeeded)
{
	int saved = errno;

	if (!change->tell)
		return;
	memory_change_end(change->what, change->address, change->length, change->detail, succeeded);
	errno = saved;
}

/* rt_sigprocmask() reads the new mask before it looks at `how`, and with a bad `how` it changes nothing. */
static bool word_readable(uintptr_t address)
{
	return bare_syscall(SYS_rt_sigprocmask, -1L, address, 0L, sizeof(uint64_t)) == 0 || errno != EFAULT;
}

bool word_writable(void *address)
{
	int saved = errno;
	bool result;

	if (!visit_begin())
		return false;
	result = bare_syscall(SYS_rt_sigprocmask, 0L, 0L, address, sizeof(uint64_t)) == 0;
	visit_end();
	errno = saved;
	return result;
}

bool readable(const void *address, size_t length)
{
	uintptr_t at = (uintptr_t)address;
	uintptr_t last = at + length - sizeof(uint64_t);
	int saved = errno;
	bool result = last >= at;

	if (!visit_begin())
		return false;

	/* One word per page, and the last one, answer for all bytes between. */
	while (result && at < last) {
		result = word_readable(at);
		at = (at | (PAGE_BYTES - 1)) + 1;
	}
	result = result && word_readable(last);
	visit_end();
	errno = saved;
	return result;
}
