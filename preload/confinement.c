/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* prctl(PR_SET_SECCOMP) and seccomp(): the library has to know of a filter before it comes into force. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>

#include "library/made-calls.h"
#include "library/withdrawal.h"
#include "preload/calls.h"
#include "preload/next.h"

/** Reports a filter, or strict mode (NULL), to the library. @return whether it is known now. */
static bool tell(const struct sock_fprog *program)
{
	int saved = errno;
	bool known = withdrawal_before_filter(program);

	errno = saved;
	return known;
}

/** The kernel refuses a program that cannot be read. */
static bool tell_filter(const struct sock_fprog *program)
{
	return readable(program, sizeof(*program)) && program->len > 0 &&
	       readable(program->filter, program->len * sizeof(*program->filter)) && tell(program);
}

bool confinement_begin(long operation, unsigned long flags, const void *arguments)
{
	if (!forward_may_tell())
		return false;
	if (operation == SECCOMP_SET_MODE_STRICT)
		return flags == 0 && arguments == NULL && tell(NULL);
	return operation == SECCOMP_SET_MODE_FILTER && tell_filter(arguments);
}

bool confinement_begin_prctl(int option, unsigned long mode, const void *program)
{
	if (option != PR_SET_SECCOMP || !forward_may_tell())
		return false;
	if (mode == SECCOMP_MODE_STRICT)
		return tell(NULL);
	return mode == SECCOMP_MODE_FILTER && tell_filter(program);
}

void confinement_end(bool known, bool succeeded)
{
	int saved = errno;

	if (known && !succeeded)
		withdrawal_filter_failed();
	errno = saved;
}

INTERPOSED int prctl(int option, ...)
{
	unsigned long a, b, c, d;
	va_list arguments;
	bool known;
	int result;

	va_start(arguments, option);
	a = va_arg(arguments, unsigned long);
	b = va_arg(arguments, unsigned long);
	c = va_arg(arguments, unsigned long);
	d = va_arg(arguments, unsigned long);
	va_end(arguments);
	known = confinement_begin_prctl(option, a, (const void *)b);
	result = next.prctl(option, a, b, c, d);
	confinement_end(known, result >= 0);
	return result;
}

/** For `pagefuse run`, in a child: see library/made-calls.h. */
INTERPOSED void pagefuse_try_calls(void);

INTERPOSED void pagefuse_try_calls(void)
{
	made_calls_try();
}
