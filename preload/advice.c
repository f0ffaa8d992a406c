/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* madvise(), posix_madvise(), process_madvise(). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "include/pagefuse.h"
#include "library/proc.h"
#include "library/visits.h"
#include "preload/calls.h"
#include "preload/next.h"

#define KERNEL_BYTES_MAX ((size_t)INT_MAX & ~(PAGE_BYTES - 1)) /* of a vector; what is more, it cuts off */

/** Whether this kernel knows @advice: makes an empty call, which changes nothing. Leaves errno as it is. */
static bool kernel_takes(int advice)
{
	int saved = errno;
	bool takes = next.syscall(SYS_madvise, 0L, 0L, (long)advice) == 0;

	errno = saved;
	return takes;
}

/** No change if the kernel is older than @advice and will refuse the call, as begin drops the content. */
static struct change discard_by_newer_advice(void *address, size_t length, int advice)
{
	struct change change = change_of(CHANGE_DISCARD, address, length, advice);

	return change.tell && !kernel_takes(advice) ? change_none() : change;
}

struct change advice_change(void *address, size_t length, int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_FREE:
		return change_of(CHANGE_DISCARD, address, length, advice);
	case MADV_DONTNEED_LOCKED:
	case MADV_GUARD_INSTALL: /* drops the content too; without the guard there are zeros */
		return discard_by_newer_advice(address, length, advice);
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return change_of(CHANGE_ADVICE, address, length, advice);
	case MADV_UNMERGEABLE:
		return change_of(CHANGE_UNMERGEABLE, address, length, advice);
	case MADV_HWPOISON: /* would poison the page for all VMs that share it */
		return change_of(CHANGE_ATTRIBUTE, address, length, advice);
	case MADV_WIPEONFORK: /* for anonymous memory only, and a mapping of the store would not keep it */
		return change_of(CHANGE_MOVE, address, length, advice);
	case MADV_REMOVE: /* for shared mappings only: the kernel refuses it here, so nothing may be dropped for it */
		return change_of(CHANGE_REMOVE, address, length, advice);
	case MADV_COLLAPSE: /* refused for pages that are held */
		return change_of(CHANGE_NOTHING, address, length, advice);
	default:
		/* Populating, paging out, ageing change no byte, and wait for a held page like any access. */
		return change_none();
	}
}

/** This thread is offering memory: a signal handler that did so meanwhile would wait for its own thread. */
static __thread volatile bool registering __attribute__((tls_model("initial-exec")));

bool advice_register(void *address, size_t length, int *ret_result)
{
	size_t rounded = change_length(address, length);
	int saved = errno;
	int r;

	if (!forward_may_tell() || registering || rounded == 0)
		return false;
	registering = true;
	r = memory_register(address, rounded);
	registering = false;
	errno = r == 2 ? ENOMEM : saved;
	*ret_result = r == 2 ? -1 : 0;
	return r > 0;
}

bool advice_is_taken(long result)
{
	return result != -1 || errno == ENOMEM;
}

INTERPOSED int madvise(void *address, size_t length, int advice)
{
	struct change change;
	int result, r;

	if (advice == MADV_MERGEABLE && advice_register(address, length, &result))
		return result;
	change = advice_change(address, length, advice);
	r = change_begin(&change);
	if (r != 0)
		return r < 0 ? -1 : 0;
	result = next.madvise(address, length, advice);
	change_end(&change, advice_is_taken(result));
	return result;
}

INTERPOSED int posix_madvise(void *address, size_t length, int advice)
{
	/* POSIX's DONTNEED keeps the content. Whatever the libc below does, guest RAM is never passed to it. */
	if (advice == POSIX_MADV_DONTNEED && forward_may_tell() && memory_is_ours(address, length))
		return 0;
	return next.posix_madvise(address, length, advice);
}

/* Whether any entry has to be handled here. */
static bool vector_concerns_us(const struct iovec *vector, size_t count, int advice)
{
	if (!forward_may_tell() || (advice == MADV_MERGEABLE ? visits_are_over() : !memory_in_use()))
		return false;
	if (count == 0 || count > IOV_MAX || !(visits_are_over() || readable(vector, count * sizeof(*vector))))
		return false; /* the kernel refuses it */
	for (size_t i = 0; i < count; i++)
		if (vector[i].iov_len > SSIZE_MAX) /* then it refuses all of them */
			return false;
	for (size_t i = 0; i < count; i++)
		if (advice == MADV_MERGEABLE || advice_change(vector[i].iov_base, vector[i].iov_len, advice).tell)
			return true;
	return false;
}

/*
 * Whether @pidfd, which is valid, is this process or a thread of it. Its fdinfo has the number in the namespace of
 * /proc, and so has /proc/self/task. Negative ones are the kernel's own names for the caller (PIDFD_SELF_THREAD).
 * @return -errno if that cannot be determined.
 */
static int is_self(int pidfd)
{
	char text[1024], path[64];
	const char *line;

	if (pidfd < 0)
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (proc_read(path, text, sizeof(text)) <= 0)
		return -ENOMEM;
	line = strstr(text, "\nPid:\t");
	if (line == NULL)
		return 0;
	line += strlen("\nPid:\t");
	snprintf(path, sizeof(path), "/proc/self/task/%.*s", (int)strspn(line, "0123456789"), line);
	return line[0] >= '1' && line[0] <= '9' &&
	       next.syscall(SYS_faccessat, (long)AT_FDCWD, path, (long)F_OK) == 0;
}

static ssize_t advise_entry(process_madvise_function *real, int pidfd, const struct iovec *entry, int advice,
			    unsigned flags)
{
	struct change change;
	ssize_t result;
	int r;

	if (advice == MADV_MERGEABLE && advice_register(entry->iov_base, entry->iov_len, &r))
		return r < 0 ? -1 : (ssize_t)entry->iov_len;
	change = advice_change(entry->iov_base, entry->iov_len, advice);
	r = change_begin(&change);
	if (r != 0)
		return r < 0 ? -1 : (ssize_t)entry->iov_len;
	result = real(pidfd, entry, 1, advice, flags);
	change_end(&change, advice_is_taken(result));
	return result;
}

/** Whether the first entry is empty at an odd address: the kernel looks at that if an entry behind it is not empty. */
static bool begins_oddly(const struct iovec *vector, size_t count)
{
	if (vector->iov_len != 0 || ((uintptr_t)vector->iov_base & (PAGE_BYTES - 1)) == 0)
		return false;
	for (size_t i = 1; i < count; i++)
		if (vector[i].iov_len != 0)
			return true;
	return false;
}

/*
 * The kernel handles the entries in order and returns the bytes done when one fails, so handling them one by one is the
 * same. The empty call first finds out whether this kernel accepts this advice at all, since change_begin() must not
 * drop the content for a call that is then refused.
 */
ssize_t advice_process(process_madvise_function *real, int pidfd, const struct iovec *vector, size_t count, int advice,
		       unsigned flags)
{
	int saved = errno;
	size_t left = KERNEL_BYTES_MAX;
	ssize_t done = 0;
	int self;

	if (!vector_concerns_us(vector, count, advice))
		return real(pidfd, vector, count, advice, flags);
	if (real(pidfd, vector, 0, advice, flags) < 0)
		return -1;
	if (!visit_begin()) { /* it can no longer be determined whose memory it is */
		errno = ENOMEM;
		return -1;
	}
	self = is_self(pidfd);
	visit_end();
	if (self < 0) { /* either way, the wrong pages could be dropped */
		errno = -self;
		return -1;
	}
	errno = saved;
	if (self == 0)
		return real(pidfd, vector, count, advice, flags);
	for (size_t i = 0; i < count && left > 0; i++) {
		struct iovec entry = { vector[i].iov_base, vector[i].iov_len < left ? vector[i].iov_len : left };
		bool oddly = begins_oddly(vector + i, count - i);
		ssize_t result = oddly ? -1 : advise_entry(real, pidfd, &entry, advice, flags);

		errno = oddly ? EINVAL : errno;
		if (result < 0) {
			if (done == 0)
				return -1;
			errno = saved;
			break;
		}
		done += result;
		left -= (size_t)result;
	}
	return done;
}

INTERPOSED ssize_t process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice, unsigned flags)
{
	return advice_process(next.process_madvise, pidfd, vector, count, advice, flags);
}
