/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "library/proc.h"
#include "library/sys.h"

#define NFS_MAGIC 0x6969
#define CEPH_MAGIC 0x00c36400
#define NINEP_MAGIC 0x01021997

struct dirent64_raw {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/** The number after @name, which is not known where the text has been cut. */
static unsigned long count_after(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found != NULL ? strtoul(found + strlen(name), NULL, 10) : ULONG_MAX;
}

/**
 * Fixed buffers stay pinned as long as the ring lives; a file registered with it can be open for direct I/O without
 * being among ours. Without these io_uring copies, or pins through O_DIRECT files.
 */
static bool has_fixed_buffers(const char *fd_name)
{
	char path[64] = "/proc/self/fdinfo/";
	char text[512];

	strncat(path, fd_name, sizeof(path) - strlen(path) - 1);
	if (proc_read(path, text, sizeof(text)) < 0)
		return true;
	return count_after(text, "UserFiles:") != 0 || count_after(text, "UserBufs:") != 0;
}

static void look_at_kind(const char *fd_name, const char *target, struct pins *pins)
{
	static const char *const pinning[] = {
		"/dev/vfio/", "anon_inode:[vfio", "anon_inode:kvm-vfio", "/dev/iommu",
		"/dev/vhost-vdpa", "/dev/infiniband/", "anon_inode:[infinibandevent]",
		/* Commands passed through to a disk (SG_IO and the like) pin their buffers without O_DIRECT. */
		"/dev/sd", "/dev/sr", "/dev/sg", "/dev/bsg/", "/dev/dm-", "/dev/nvme", "/dev/ng"
	};

	for (size_t i = 0; i < sizeof(pinning) / sizeof(*pinning); i++)
		if (begins(target, pinning[i]))
			pins->possible = true;
	if (begins(target, "anon_inode:[io_uring]") && has_fixed_buffers(fd_name))
		pins->possible = true;
	if (begins(target, "/dev/vhost-scsi"))
		pins->possible = pins->unseen = true;
	if (begins(target, "anon_inode:kvm-vm") || begins(target, "anon_inode:kvm-vcpu"))
		pins->kvm = true;
}

static void look_at_file(int directory, const char *fd_name, struct pins *pins)
{
	int fd = atoi(fd_name);
	long flags = sys_raw(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0);
	char target[64];
	struct statfs fs;
	long length;

	if (flags >= 0 && (flags & O_DIRECT) != 0) {
		pins->possible = true;
		if (fstatfs(fd, &fs) != 0 || fs.f_type == NFS_MAGIC || fs.f_type == CEPH_MAGIC ||
		    fs.f_type == NINEP_MAGIC)
			pins->unseen = true;
	}
	length = sys_raw(SYS_readlinkat, directory, (long)fd_name, (long)target, sizeof(target) - 1, 0, 0);
	if (length < 0)
		return; /* closed meanwhile */
	target[length] = 0;
	look_at_kind(fd_name, target, pins);
}

int pins_look(struct pins *ret)
{
	static const struct pins everything = { .possible = true, .unseen = true, .kvm = true };
	_Alignas(8) char entries[4096];
	long directory =
		sys_raw(SYS_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
	long length;

	*ret = everything;
	if (directory < 0)
		return (int)directory;
	*ret = (struct pins){ 0 };
	while ((length = sys_raw(SYS_getdents64, directory, (long)entries, sizeof(entries), 0, 0, 0)) > 0) {
		for (long at = 0; at < length;) {
			const struct dirent64_raw *entry = (const void *)(entries + at);

			at += entry->d_reclen; /* NOLINT(*Assign): the system call has written it */
			if (entry->d_name[0] != '.')
				look_at_file((int)directory, entry->d_name, ret);
		}
	}
	sys_raw(SYS_close, directory, 0, 0, 0, 0, 0);
	if (length < 0)
		*ret = everything;
	return (int)length;
}

bool pins_swap_available(void)
{
	char text[512];
	const char *first_line_end;

	if (proc_read("/proc/swaps", text, sizeof(text)) < 0)
		return false;
	first_line_end = strchr(text, '\n');
	return first_line_end != NULL && first_line_end[1] != 0;
}
