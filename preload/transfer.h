/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls that read or write guest RAM while their thread is in the kernel: the library leaves that memory alone
 * meanwhile, so that the thread can be stopped (library/transfers.h). Before and after each:
 *
 *	uint64_t transfer = transfer_before(buffer, length);
 *
 *	return transfer_after(transfer, next.send(fd, buffer, length, flags));
 *
 * They leave errno as it is.
 */
#ifndef PAGEFUSE_PRELOAD_TRANSFER_H
#define PAGEFUSE_PRELOAD_TRANSFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "library/transfers.h"

struct iovec;
struct mmsghdr;
struct msghdr;

uint64_t transfer_before(const void *buffer, size_t length);
/** A vector or message that the kernel cannot read, or refuses, is not a transfer. */
uint64_t transfer_before_vector(const struct iovec *vector, size_t count);
uint64_t transfer_before_message(const struct msghdr *message);
uint64_t transfer_before_messages(const struct mmsghdr *messages, unsigned count);

static inline ssize_t transfer_after(uint64_t transfer, ssize_t result)
{
	if (transfer != 0)
		transfers_end(transfer);
	return result;
}

#endif
