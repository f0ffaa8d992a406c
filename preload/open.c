/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that are opened, by open() and the like, or received in a message; or that change: files switched to direct
 * I/O, sockets that start to decrypt. Each is reported to the library before the VMM can use it, as I/O on some files
 * writes guest memory unseen (library/files.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "preload/calls.h"
#include "preload/next.h"

static void note_file(int fd, bool direct)
{
	int saved = errno;

	if (fd < 0 || !forward_may_tell())
		return;
	memory_note_file(fd, direct);
	errno = saved;
}

static int opened(int fd)
{
	note_file(fd, false);
	return fd;
}

/** The mode of open(): a third argument, with O_TMPFILE or O_CREAT only; else the value passed on is not looked at. */
#define MODE_OF(flags) \
	({ \
		va_list arguments; \
		int found; \
\
		va_start(arguments, flags); \
		found = va_arg(arguments, int); \
		va_end(arguments); \
		found; \
	})

/* What stands in for NAME. @BY: what is done with the result of the next one. */
#define INTERPOSED_BY(TYPE, NAME, PARAMETERS, BY, NEXT) \
	INTERPOSED TYPE NAME PARAMETERS \
	{ \
		return BY(NEXT); \
	}

/* NAME and NAME64 are the same where offsets have 64 bits. */
#define INTERPOSED_BOTH(TYPE, NAME, PARAMETERS, BY, ARGUMENTS) \
	INTERPOSED_BY(TYPE, NAME, PARAMETERS, BY, next.NAME ARGUMENTS) \
	INTERPOSED_BY(TYPE, NAME##64, PARAMETERS, BY, next.NAME ARGUMENTS)

INTERPOSED_BOTH(int, open, (const char *path, int flags, ...), opened, (path, flags, MODE_OF(flags)))
INTERPOSED_BOTH(int, openat, (int folder, const char *path, int flags, ...), opened,
		(folder, path, flags, MODE_OF(flags)))
INTERPOSED_BOTH(int, creat, (const char *path, mode_t mode), opened, (path, mode))

/* The compiler calls these instead with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

INTERPOSED int __open_2(const char *path, int flags)
{
	return opened(next.open_2(path, flags));
}

INTERPOSED int __open64_2(const char *path, int flags)
{
	return opened(next.open_2(path, flags));
}

INTERPOSED int __openat_2(int folder, const char *path, int flags)
{
	return opened(next.openat_2(folder, path, flags));
}

INTERPOSED int __openat64_2(int folder, const char *path, int flags)
{
	return opened(next.openat_2(folder, path, flags));
}

INTERPOSED int open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
	return opened(next.open_by_handle_at(mount, handle, flags));
}

int pidfd_getfd(int pidfd, int fd, unsigned flags); /* since glibc 2.36 */

INTERPOSED int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	return opened(next.pidfd_getfd(pidfd, fd, flags));
}

/* ---- libc functions that open files internally ---- */

INTERPOSED_BOTH(int, mkstemp, (char *pattern), opened, (pattern))
INTERPOSED_BOTH(int, mkostemp, (char *pattern, int flags), opened, (pattern, flags))
INTERPOSED_BOTH(int, mkstemps, (char *pattern, int suffix), opened, (pattern, suffix))
INTERPOSED_BOTH(int, mkostemps, (char *pattern, int suffix, int flags), opened, (pattern, suffix, flags))

static FILE *opened_stream(FILE *stream)
{
	if (stream != NULL)
		note_file(fileno(stream), false);
	return stream;
}

INTERPOSED_BOTH(FILE *, fopen, (const char *path, const char *mode), opened_stream, (path, mode))
INTERPOSED_BOTH(FILE *, freopen, (const char *path, const char *mode, FILE *stream), opened_stream,
		(path, mode, stream))
INTERPOSED_BOTH(FILE *, tmpfile, (void), opened_stream, ())

/* ---- files that change ---- */

static void before_fcntl(int fd, int command, long argument)
{
	if (command == F_SETFL && (argument & O_DIRECT) != 0)
		note_file(fd, true);
}

/* The argument is an int, a pointer, or not there. */
#define ARGUMENT_OF(command) \
	({ \
		va_list arguments; \
		void *found; \
\
		va_start(arguments, command); \
		found = va_arg(arguments, void *); \
		va_end(arguments); \
		found; \
	})

INTERPOSED int fcntl64(int fd, int command, ...)
{
	void *argument = ARGUMENT_OF(command);

	before_fcntl(fd, command, (long)argument);
	return next.fcntl(fd, command, argument);
}

INTERPOSED int fcntl(int fd, int command, ...)
{
	void *argument = ARGUMENT_OF(command);

	before_fcntl(fd, command, (long)argument);
	return next.fcntl(fd, command, argument);
}

/* With a protocol on top (TLS), a receive no longer copies; nothing is decrypted before the next option is set. */
static void after_setsockopt(int fd, int level, int option)
{
	if (level == IPPROTO_TCP && option == TCP_ULP)
		note_file(fd, false);
}

INTERPOSED int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	int result = next.setsockopt(fd, level, option, value, length);

	if (result == 0)
		after_setsockopt(fd, level, option);
	return result;
}

void open_note_received(const struct msghdr *message)
{
	if (!forward_may_tell() || message->msg_controllen == 0)
		return;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
	     part = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, part)) {
		const char *data = (const char *)CMSG_DATA(part);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int fd;

			memcpy(&fd, data + at, sizeof(fd));
			note_file(fd, false);
		}
	}
}

void open_note_received_all(const struct mmsghdr *messages, long count)
{
	for (long i = 0; i < count; i++)
		open_note_received(&messages[i].msg_hdr);
}

/* ---- by number ---- */

/** Whether the result is a descriptor, of any kind of file. */
static bool brings_file(long number)
{
	switch ((int)number) {
#ifdef SYS_open
	case SYS_open:
#endif
#ifdef SYS_creat
	case SYS_creat:
#endif
	case SYS_openat:
	case SYS_openat2:
	case SYS_open_by_handle_at:
	case SYS_pidfd_getfd:
		return true;
	default:
		return false;
	}
}

bool open_concerns_number(long number)
{
	return brings_file(number) || (int)number == SYS_recvmsg || (int)number == SYS_recvmmsg ||
	       (int)number == SYS_fcntl || (int)number == SYS_setsockopt;
}

void open_before_number(long number, long a, long b, long c)
{
	if ((int)number == SYS_fcntl)
		before_fcntl((int)a, (int)b, c);
}

void open_after_number(long number, long a, long b, long c, long result)
{
	if (result < 0)
		return;
	if (brings_file(number))
		note_file((int)result, false);
	else if ((int)number == SYS_recvmsg)
		open_note_received((const struct msghdr *)b);
	else if ((int)number == SYS_recvmmsg)
		open_note_received_all((const struct mmsghdr *)b, result);
	else if ((int)number == SYS_setsockopt)
		after_setsockopt((int)a, (int)b, (int)c);
}
