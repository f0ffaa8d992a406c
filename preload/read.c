/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads into guest RAM, as made for a disk of the guest: the memory is reported to the library just before the call,
 * whether the call succeeds or not. These are pread() and the like, read() and recv() for disks behind a socket, and
 * io_submit() of libaio. All except the last, which only submits reads that the kernel does later, are transfers, too.
 */
#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/calls.h"
#include "preload/next.h"
#include "preload/transfer.h"

#define REQUESTS_MAX 65536 /* no queue of the kernel is longer */

bool read_may_matter(void)
{
	return forward_may_tell() && memory_in_use();
}

static bool vector_is_readable(const struct iovec *vector, size_t count)
{
	return count > 0 && count <= IOV_MAX && readable(vector, count * sizeof(*vector)); /* else the call fails */
}

/** For a read that is over when its call returns, and so is a transfer. */
static uint64_t tell_transfer(int fd, void *address, size_t length)
{
	int saved = errno;
	uint64_t transfer;

	memory_before_read_from(fd, address, length);
	transfer = transfers_begin(address, length);
	memory_note_read(address, length, transfer != 0 ? NOTE_READ : NOTE_SUBMITTED, fd);
	errno = saved;
	return transfer;
}

void read_tell(int fd, const void *address, size_t length)
{
	int saved = errno;

	memory_before_read_from(fd, address, length);
	memory_note_read(address, length, NOTE_SUBMITTED, fd);
	errno = saved;
}

void read_tell_vector(int fd, const struct iovec *vector, size_t count)
{
	if (!vector_is_readable(vector, count))
		return;
	for (size_t i = 0; i < count; i++)
		read_tell(fd, vector[i].iov_base, vector[i].iov_len);
}

static uint64_t before_read(int fd, void *buffer, size_t length)
{
	return read_may_matter() ? tell_transfer(fd, buffer, length) : 0;
}

static uint64_t before_read_vector(int fd, const struct iovec *vector, size_t count)
{
	uint64_t transfers = 0;

	if (!read_may_matter() || !vector_is_readable(vector, count))
		return 0;
	for (size_t i = 0; i < count; i++)
		transfers |= tell_transfer(fd, vector[i].iov_base, vector[i].iov_len);
	return transfers;
}

static uint64_t before_read_message(int fd, const struct msghdr *message)
{
	if (!read_may_matter() || !readable(message, sizeof(*message)))
		return 0;
	return before_read_vector(fd, message->msg_iov, message->msg_iovlen);
}

static uint64_t before_read_messages(int fd, const struct mmsghdr *messages, unsigned count)
{
	uint64_t transfers = 0;

	if (!read_may_matter())
		return 0;
	for (unsigned i = 0; i < count && i < IOV_MAX && readable(&messages[i], sizeof(messages[i])); i++)
		transfers |= before_read_message(fd, &messages[i].msg_hdr);
	return transfers;
}

/* ---- Linux AIO ---- */

static void tell_iocb(const struct iocb *request)
{
	const void *buffer = (const void *)(uintptr_t)request->aio_buf;
	int fd = (int)request->aio_fildes;

	if (request->aio_lio_opcode == IOCB_CMD_PREAD)
		read_tell(fd, buffer, request->aio_nbytes);
	else if (request->aio_lio_opcode == IOCB_CMD_PREADV)
		read_tell_vector(fd, buffer, request->aio_nbytes);
}

static void before_submit(long count, struct iocb *const *requests)
{
	if (!read_may_matter() || count <= 0 || count > REQUESTS_MAX ||
	    !readable(requests, (size_t)count * sizeof(*requests)))
		return;
	for (long i = 0; i < count; i++)
		if (readable(requests[i], sizeof(*requests[i])))
			tell_iocb(requests[i]);
}

/* ---- the calls ---- */

INTERPOSED ssize_t pread64(int fd, void *buffer, size_t length, off_t offset)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.pread(fd, buffer, length, offset));
}

INTERPOSED ssize_t pread(int fd, void *buffer, size_t length, off_t offset)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.pread(fd, buffer, length, offset));
}

/* The compiler calls these instead with _FORTIFY_SOURCE. */
ssize_t __pread_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length);
ssize_t __pread64_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length);
ssize_t __read_chk(int fd, void *buffer, size_t length, size_t buffer_length);
ssize_t __recv_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags,
		       struct sockaddr *ret_address, socklen_t *address_length);

INTERPOSED ssize_t __pread_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.pread_chk(fd, buffer, length, offset, buffer_length));
}

INTERPOSED ssize_t __pread64_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.pread_chk(fd, buffer, length, offset, buffer_length));
}

INTERPOSED ssize_t preadv64(int fd, const struct iovec *vector, int count, off_t offset)
{
	uint64_t transfer = before_read_vector(fd, vector, (size_t)count);

	return transfer_after(transfer, next.preadv(fd, vector, count, offset));
}

INTERPOSED ssize_t preadv(int fd, const struct iovec *vector, int count, off_t offset)
{
	uint64_t transfer = before_read_vector(fd, vector, (size_t)count);

	return transfer_after(transfer, next.preadv(fd, vector, count, offset));
}

INTERPOSED ssize_t preadv64v2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	uint64_t transfer = before_read_vector(fd, vector, (size_t)count);

	return transfer_after(transfer, next.preadv2(fd, vector, count, offset, flags));
}

INTERPOSED ssize_t preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	uint64_t transfer = before_read_vector(fd, vector, (size_t)count);

	return transfer_after(transfer, next.preadv2(fd, vector, count, offset, flags));
}

INTERPOSED ssize_t read(int fd, void *buffer, size_t length)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.read(fd, buffer, length));
}

INTERPOSED ssize_t __read_chk(int fd, void *buffer, size_t length, size_t buffer_length)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.read_chk(fd, buffer, length, buffer_length));
}

INTERPOSED ssize_t readv(int fd, const struct iovec *vector, int count)
{
	uint64_t transfer = before_read_vector(fd, vector, (size_t)count);

	return transfer_after(transfer, next.readv(fd, vector, count));
}

INTERPOSED ssize_t recv(int fd, void *buffer, size_t length, int flags)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.recv(fd, buffer, length, flags));
}

INTERPOSED ssize_t __recv_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.recv_chk(fd, buffer, length, buffer_length, flags));
}

INTERPOSED ssize_t recvfrom(int fd, void *buffer, size_t length, int flags, struct sockaddr *ret_address,
			    socklen_t *address_length)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.recvfrom(fd, buffer, length, flags, ret_address, address_length));
}

INTERPOSED ssize_t __recvfrom_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags,
				  struct sockaddr *ret_address, socklen_t *address_length)
{
	uint64_t transfer = before_read(fd, buffer, length);

	return transfer_after(transfer, next.recvfrom_chk(fd, buffer, length, buffer_length, flags, ret_address,
							  address_length));
}

INTERPOSED ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	uint64_t transfer = before_read_message(fd, message);
	ssize_t result = transfer_after(transfer, next.recvmsg(fd, message, flags));

	if (result >= 0)
		open_note_received(message);
	return result;
}

INTERPOSED int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	uint64_t transfer = before_read_messages(fd, messages, count);
	int result = (int)transfer_after(transfer, next.recvmmsg(fd, messages, count, flags, timeout));

	open_note_received_all(messages, result);
	return result;
}

int io_submit(aio_context_t context, long count, struct iocb **requests);

INTERPOSED int io_submit(aio_context_t context, long count, struct iocb **requests)
{
	before_submit(count, requests);
	return next.io_submit(context, count, requests);
}

uint64_t read_before_number(long number, long a, long b, long c)
{
	switch ((int)number) {
	case SYS_pread64:
	case SYS_read:
	case SYS_recvfrom:
		return before_read((int)a, (void *)b, (size_t)c);
	case SYS_preadv:
	case SYS_preadv2:
	case SYS_readv:
		return before_read_vector((int)a, (const struct iovec *)b, (size_t)c);
	case SYS_recvmsg:
		return before_read_message((int)a, (const struct msghdr *)b);
	case SYS_recvmmsg:
		return before_read_messages((int)a, (const struct mmsghdr *)b, (unsigned)c);
	case SYS_io_submit:
		before_submit(b, (struct iocb *const *)c);
		return 0;
	default:
		return 0;
	}
}
