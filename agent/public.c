/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/public.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * Those with a disk of this guest below. Not tmpfs, whose files are memory and nothing else; not those over a network
 * or a daemon, which can make whoever opens a file wait.
 */
static const uint32_t disk_file_systems[] = {
	0xef53,     /* ext2, ext3, ext4 */
	0x58465342, /* xfs */
	0x9123683e, /* btrfs */
	0xf2f52010, /* f2fs */
	0xe0f5e1e2, /* erofs */
	0x73717368, /* squashfs */
	0x794c7630, /* overlayfs: the pages are those of the file system below */
	0xca451a4e, /* bcachefs */
	0x9660,     /* iso9660 */
	0x15013346, /* udf */
	0x4d44,     /* vfat */
	0x2011bab0, /* exfat */
	0x3153464a, /* jfs */
	0x28cd3d45, /* cramfs */
};

bool public_folder(const struct stat *status)
{
	return S_ISDIR(status->st_mode) && (status->st_mode & S_IXOTH) != 0;
}

bool public_file(const struct stat *status)
{
	return S_ISREG(status->st_mode) && (status->st_mode & S_IROTH) != 0 && status->st_size > 0;
}

bool public_file_system(int fd, const struct stat *status)
{
	static dev_t device;
	static bool known, is_disk;
	struct statfs file_system;

	if (known && device == status->st_dev)
		return is_disk;
	if (fstatfs(fd, &file_system) < 0)
		return false;
	known = true;
	device = status->st_dev;
	is_disk = false;
	for (size_t i = 0; i < sizeof(disk_file_systems) / sizeof(*disk_file_systems); i++)
		is_disk |= (uint32_t)file_system.f_type == disk_file_systems[i];
	return is_disk;
}

int public_open_at(int folder, const char *name, struct stat *ret_status)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd;

	/* Looked at before it is opened: to open a device can mean something to it. */
	if (fstatat(folder, name, ret_status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!public_file(ret_status))
		return -EACCES;
	fd = openat(folder, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM) /* of another owner, without CAP_FOWNER */
		fd = openat(folder, name, flags);
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret_status) < 0 || !public_file(ret_status) || !public_file_system(fd, ret_status)) {
		close(fd);
		return -EACCES;
	}
	return fd;
}

int public_open(const char *path, struct stat *ret_status)
{
	char name[NAME_MAX + 1];
	int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), next;

	if (folder < 0)
		return -errno;
	for (;;) {
		size_t bytes;

		path += strspn(path, "/");
		bytes = strcspn(path, "/");
		if (bytes == 0 || bytes > NAME_MAX) {
			close(folder);
			return -EINVAL;
		}
		memcpy(name, path, bytes);
		name[bytes] = 0;
		path += bytes;
		if (*path == 0)
			break;
		next = openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(folder);
		if (next < 0)
			return -errno;
		folder = next;
		if (fstat(folder, ret_status) < 0 || !public_folder(ret_status)) {
			close(folder);
			return -EACCES;
		}
	}
	next = public_open_at(folder, name, ret_status);
	close(folder);
	return next;
}
