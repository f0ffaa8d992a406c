/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/wake.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#include "library/descriptors.h"
#include "library/lock.h"
#include "library/sys.h"

#define TAKEN_AT_ONCE 64 /* more than the kernel queues; a limit, so that endless sends cannot keep the worker */
#define BLIND_LOOK_MS 50 /* between looks, where nothing tells that there is something to be seen */

static struct descriptor *sender, *receiver;

int wake_open(void)
{
	int fds[2] = { -1, -1 }, r;
	bool had;

	if (descriptor_is_there(sender) && descriptor_is_there(receiver))
		return 0;
	wake_close();
	had = descriptors_open();
	r = (int)sys_raw(SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, (long)fds, 0, 0);
	if (r == 0)
		r = descriptor_add(fds[0], &sender);
	if (r == 0)
		r = descriptor_add(fds[1], &receiver);
	else if (fds[1] >= 0)
		sys_raw(SYS_close, fds[1], 0, 0, 0, 0, 0);
	descriptors_opened(had);
	if (r < 0)
		wake_close();
	return r;
}

void wake_close(void)
{
	descriptor_close(&sender);
	descriptor_close(&receiver);
}

int wake_number(void)
{
	return descriptor_number(receiver);
}

void wake_send(void)
{
	bool had = memory_lock_is_mine();

	if (!had)
		memory_lock();
	if (descriptor_is_there(sender))
		sys_call(SYS_sendto, descriptor_number(sender), 0, 0, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
	if (!had)
		memory_unlock();
}

bool wake_receive(void)
{
	bool any = false;

	memory_lock_worker();
	for (int i = 0; i < TAKEN_AT_ONCE && descriptor_is_there(receiver); i++) {
		if (sys_raw(SYS_recvfrom, descriptor_number(receiver), 0, 0, MSG_DONTWAIT, 0, 0) < 0)
			break;
		any = true;
	}
	memory_unlock();
	return any;
}

int wake_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
	int r = poll(fds, count, timeout_ms);

	if (r >= 0 || errno != EINVAL)
		return r;
	poll(NULL, 0, timeout_ms < BLIND_LOOK_MS ? timeout_ms : BLIND_LOOK_MS);
	return (int)count;
}
