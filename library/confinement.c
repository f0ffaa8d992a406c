/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/confinement.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "library/filter.h"
#include "library/protections.h"
#include "library/sys.h"

static _Atomic unsigned known; /* filters under which the library can go on */

bool confinement_expect(const struct sock_fprog *program)
{
	if (!PROTECTED(PROTECT_CONFINEMENT))
		return true;
	if (!filter_lets_through(program))
		return false;
	atomic_fetch_add(&known, 1);
	return true;
}

void confinement_failed(void)
{
	unsigned before = atomic_load(&known);

	while (before > 0 && !atomic_compare_exchange_weak(&known, &before, before - 1))
		;
}

static unsigned long number_after(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found != NULL ? strtoul(found + strlen(name), NULL, 10) : 0;
}

/** Makes as few calls as possible: a filter may not allow those of proc.h. @return bytes, or -errno. */
static long read_status(char *text, size_t size)
{
	long fd = sys_raw(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	long length;

	if (fd < 0)
		return fd;
	length = sys_raw(SYS_read, fd, (long)text, (long)size - 1, 0, 0, 0);
	sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	if (length >= 0)
		text[length] = 0;
	return length;
}

int confinement_is_unknown(void)
{
	const char *promised = getenv("PAGEFUSE_SECCOMP");
	unsigned long count;
	char text[4096];
	long r;

	if (!PROTECTED(PROTECT_CONFINEMENT))
		return 0;
	r = read_status(text, sizeof(text));
	if (r < 0)
		return (int)r;
	if (number_after(text, "\nSeccomp:\t") == 0) /* or the kernel has no seccomp */
		return 0;
	count = number_after(text, "\nSeccomp_filters:\t");
	if (count == 0) /* Linux before 5.9 tells only whether there are any; strict mode has none */
		count = 1;
	return count > atomic_load(&known) + (promised != NULL ? strtoul(promised, NULL, 10) : 0);
}
