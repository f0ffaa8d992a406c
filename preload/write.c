/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes from guest RAM to files and sockets: transfers, and nothing more. vmsplice() is more. */
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "library/visits.h"
#include "preload/calls.h"
#include "preload/next.h"
#include "preload/transfer.h"

INTERPOSED ssize_t write(int fd, const void *buffer, size_t length)
{
	uint64_t transfer = transfer_before(buffer, length);

	return transfer_after(transfer, next.write(fd, buffer, length));
}

INTERPOSED ssize_t pwrite64(int fd, const void *buffer, size_t length, off_t offset)
{
	uint64_t transfer = transfer_before(buffer, length);

	return transfer_after(transfer, next.pwrite(fd, buffer, length, offset));
}

INTERPOSED ssize_t pwrite(int fd, const void *buffer, size_t length, off_t offset)
{
	uint64_t transfer = transfer_before(buffer, length);

	return transfer_after(transfer, next.pwrite(fd, buffer, length, offset));
}

INTERPOSED ssize_t writev(int fd, const struct iovec *vector, int count)
{
	uint64_t transfer = transfer_before_vector(vector, (size_t)count);

	return transfer_after(transfer, next.writev(fd, vector, count));
}

INTERPOSED ssize_t pwritev64(int fd, const struct iovec *vector, int count, off_t offset)
{
	uint64_t transfer = transfer_before_vector(vector, (size_t)count);

	return transfer_after(transfer, next.pwritev(fd, vector, count, offset));
}

INTERPOSED ssize_t pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
	uint64_t transfer = transfer_before_vector(vector, (size_t)count);

	return transfer_after(transfer, next.pwritev(fd, vector, count, offset));
}

INTERPOSED ssize_t pwritev64v2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	uint64_t transfer = transfer_before_vector(vector, (size_t)count);

	return transfer_after(transfer, next.pwritev2(fd, vector, count, offset, flags));
}

INTERPOSED ssize_t pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	uint64_t transfer = transfer_before_vector(vector, (size_t)count);

	return transfer_after(transfer, next.pwritev2(fd, vector, count, offset, flags));
}

INTERPOSED ssize_t send(int fd, const void *buffer, size_t length, int flags)
{
	uint64_t transfer = transfer_before(buffer, length);

	return transfer_after(transfer, next.send(fd, buffer, length, flags));
}

INTERPOSED ssize_t sendto(int fd, const void *buffer, size_t length, int flags, const struct sockaddr *to,
			  socklen_t to_length)
{
	uint64_t transfer = transfer_before(buffer, length);

	return transfer_after(transfer, next.sendto(fd, buffer, length, flags, to, to_length));
}

INTERPOSED ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	uint64_t transfer = transfer_before_message(message);

	return transfer_after(transfer, next.sendmsg(fd, message, flags));
}

INTERPOSED int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	uint64_t transfer = transfer_before_messages(messages, count);

	return (int)transfer_after(transfer, next.sendmmsg(fd, messages, count, flags));
}

/* All pages that the range touches. */
static struct change splice_change(const struct iovec *range)
{
	size_t before = (uintptr_t)range->iov_base & (PAGE_BYTES - 1);

	if (range->iov_len == 0 || range->iov_len > SIZE_MAX - before)
		return change_none();
	return change_of(CHANGE_DEVICE, (char *)range->iov_base - before, range->iov_len + before, 0);
}

int splice_begin(const struct iovec *vector, size_t count)
{
	if (!forward_may_tell() || !memory_in_use() || count == 0 || count > IOV_MAX ||
	    !(visits_are_over() || readable(vector, count * sizeof(*vector))))
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct change change = splice_change(&vector[i]);

		if (change_begin(&change) != 0)
			return -1;
		change_end(&change, true);
	}
	return 0;
}

INTERPOSED ssize_t vmsplice(int fd, const struct iovec *vector, size_t count, unsigned flags)
{
	return splice_begin(vector, count) < 0 ? -1 : next.vmsplice(fd, vector, count, flags);
}

uint64_t write_before_number(long number, long b, long c)
{
	switch ((int)number) {
	case SYS_pwrite64:
	case SYS_sendto:
	case SYS_write:
		return transfer_before((const void *)b, (size_t)c);
	case SYS_pwritev:
	case SYS_pwritev2:
	case SYS_writev:
		return transfer_before_vector((const struct iovec *)b, (size_t)c);
	case SYS_sendmsg:
		return transfer_before_message((const struct msghdr *)b);
	case SYS_sendmmsg:
		return transfer_before_messages((const struct mmsghdr *)b, (unsigned)c);
	default:
		return 0;
	}
}
