/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret_thread, const char *name, void *(*main)(void *), void *argument)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret_thread, NULL, main, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		(void)pthread_setname_np(*ret_thread, name);
	return -r;
}
