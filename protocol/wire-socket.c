/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending and receiving one message with its descriptors. No allocation, no blocking, no signal on a closed peer. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/wire.h"

union fd_control {
	char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

static int send_now(int socket, const struct msghdr *msg)
{
	ssize_t sent;

	do
		sent = sendmsg(socket, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int wire_send(int socket, const void *message, size_t size, const int *fds, unsigned fd_count)
{
	union fd_control control = { 0 };
	struct iovec iov = { .iov_base = (void *)message, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd_count > WIRE_FDS_MAX || size > WIRE_MESSAGE_MAX)
		return -EINVAL;
	if (fd_count > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof(int));
	}
	return send_now(socket, &msg);
}

int wire_send_body(int socket, const struct wire_header *header, const void *body, size_t size)
{
	struct iovec iov[] = {
		{ .iov_base = (void *)header, .iov_len = sizeof(*header) },
		{ .iov_base = (void *)body, .iov_len = size },
	};
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	return size > WIRE_MESSAGE_MAX - sizeof(*header) ? -EINVAL : send_now(socket, &msg);
}

static void close_all(int fds[WIRE_FDS_MAX])
{
	for (unsigned i = 0; i < WIRE_FDS_MAX; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static void take_fds(struct msghdr *msg, int ret_fds[WIRE_FDS_MAX])
{
	unsigned taken = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (taken < WIRE_FDS_MAX)
				ret_fds[taken++] = fd;
			else
				close(fd);
		}
	}
}

int wire_receive(int socket, void *message, size_t size, size_t *ret_size, int *ret_fds)
{
	union fd_control control;
	struct iovec iov = { .iov_base = message, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t received;
	int r;

	for (unsigned i = 0; ret_fds && i < WIRE_FDS_MAX; i++)
		ret_fds[i] = -1;
	if (ret_fds) { /* without, the kernel drops them and says MSG_CTRUNC */
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
	}
	do
		received = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -errno;
	if (ret_fds)
		take_fds(&msg, ret_fds);
	if (received == 0)
		r = -ECONNRESET;
	else if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		r = -EPROTO;
	else
		r = wire_check(message, (size_t)received);
	if (r < 0 && ret_fds)
		close_all(ret_fds);
	if (r < 0)
		return r;
	*ret_size = (size_t)received;
	return 0;
}
