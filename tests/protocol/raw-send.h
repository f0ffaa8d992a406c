/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending as a hostile peer would: anything, with any number of descriptors. */
#ifndef PAGEFUSE_TESTS_PROTOCOL_RAW_SEND_H
#define PAGEFUSE_TESTS_PROTOCOL_RAW_SEND_H

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define RAW_FDS_MAX 8

/** One packet with @socket itself attached @fd_count times. @return as sendmsg(2). */
static inline ssize_t raw_send(int socket, const void *message, size_t size, unsigned fd_count)
{
	union {
		char bytes[CMSG_SPACE(RAW_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)message, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd_count > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		for (unsigned i = 0; i < fd_count && i < RAW_FDS_MAX; i++)
			memcpy(control.bytes + CMSG_LEN(i * sizeof(int)), &socket, sizeof(int));
	}
	return sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

#endif
