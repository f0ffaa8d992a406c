/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "preload/transfer.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "preload/forward.h"

static bool may_matter(void)
{
	return forward_may_tell() && memory_in_use();
}

uint64_t transfer_before(const void *buffer, size_t length)
{
	int saved = errno;
	uint64_t transfer;

	if (!may_matter())
		return 0;
	transfer = transfers_begin(buffer, length);
	errno = saved;
	return transfer;
}

uint64_t transfer_before_vector(const struct iovec *vector, size_t count)
{
	uint64_t transfers = 0;

	if (!may_matter() || count == 0 || count > IOV_MAX || !readable(vector, count * sizeof(*vector)))
		return 0;
	for (size_t i = 0; i < count; i++)
		transfers |= transfer_before(vector[i].iov_base, vector[i].iov_len);
	return transfers;
}

uint64_t transfer_before_message(const struct msghdr *message)
{
	if (!may_matter() || !readable(message, sizeof(*message)))
		return 0;
	return transfer_before_vector(message->msg_iov, message->msg_iovlen);
}

uint64_t transfer_before_messages(const struct mmsghdr *messages, unsigned count)
{
	uint64_t transfers = 0;

	if (!may_matter())
		return 0;
	for (unsigned i = 0; i < count && i < IOV_MAX && readable(&messages[i], sizeof(messages[i])); i++)
		transfers |= transfer_before_message(&messages[i].msg_hdr);
	return transfers;
}
