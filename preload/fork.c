/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* _Fork(), which calls no handlers of pthread_atfork(). fork() does, and the library has its own there. */
#include <errno.h>
#include <unistd.h>

#include "library/fork.h"
#include "preload/calls.h"
#include "preload/next.h"

/* glibc 2.34; where libc does not declare it, nobody calls it. */
pid_t _Fork(void);

/* Also while no region is there: another thread may be making the first one. */
bool fork_begin(void)
{
	int saved = errno;

	if (!forward_ready)
		return false;
	fork_prepare();
	errno = saved;
	return true;
}

void fork_end(bool begun, long pid)
{
	int saved = errno;

	if (!begun)
		return;
	if (pid == 0)
		fork_child();
	else
		fork_parent();
	errno = saved;
}

INTERPOSED pid_t _Fork(void)
{
	bool begun = fork_begin();
	pid_t pid = next.fork();

	fork_end(begun, pid);
	return pid;
}
