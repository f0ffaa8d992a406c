/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * _Fork() and clone(), which call no handlers of pthread_atfork(). fork() does, and the library has registered its own.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <unistd.h>

#include "library/fork.h"
#include "preload/calls.h"
#include "preload/next.h"

/* Since glibc 2.34; a libc that does not declare it has no callers of it. */
pid_t _Fork(void);

/* Also while there is no region: another thread may be making the first one. */
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

/** The function that a child of clone() runs, in its copy of the parent's stack. */
struct start {
	int (*function)(void *);
	void *argument;
};

static int start_child(void *argument)
{
	const struct start *start = argument;

	fork_end(true, 0);
	return start->function(start->argument);
}

/* With CLONE_VM the child is a thread, or borrows its parent's memory: there is nothing to report. */
INTERPOSED int clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
	struct start start = { .function = function, .argument = argument };
	void *tls, *parent_tid, *child_tid;
	va_list arguments;
	int pid;

	va_start(arguments, argument);
	parent_tid = va_arg(arguments, void *);
	tls = va_arg(arguments, void *);
	child_tid = va_arg(arguments, void *);
	va_end(arguments);
	if ((flags & CLONE_VM) != 0 || function == NULL || !fork_begin())
		return next.clone(function, stack, flags, argument, parent_tid, tls, child_tid);
	pid = next.clone(start_child, stack, flags, &start, parent_tid, tls, child_tid);
	fork_end(true, pid);
	return pid;
}
