/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/page.h"

/* No "noexec": the store stands in for guest memory, which a VMM may map with any protection. */
#define ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static int configure(int context, const char *size)
{
	if (fsconfig(context, FSCONFIG_SET_STRING, "source", "pagefuse", 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0)
		return -errno;
	/* Memory is freed by the page, so none may come by the 2 MiB. A kernel without these has no such option. */
	(void)fsconfig(context, FSCONFIG_SET_STRING, "huge", "never", 0);
	return fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

static int attach(int mount, const char *path)
{
	/* Under a shared parent, attaching makes the mount shared, too: umount must not depend on other namespaces. */
	struct mount_attr private = { .propagation = MS_PRIVATE };

	if (move_mount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	if (mount_setattr(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &private, sizeof(private)) < 0) {
		int r = -errno;

		mounts_abandon(path);
		return r;
	}
	return 0;
}

int mounts_create(const char *path, const char *size)
{
	int context, mount, r;

	context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0)
		return -errno;
	r = configure(context, size);
	if (r == 0) {
		mount = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | ATTRIBUTES);
		r = mount < 0 ? -errno : attach(mount, path);
		if (mount >= 0)
			close(mount);
	}
	close(context);
	return r;
}

static int clone_tree(const char *path, const struct mount_attr *attributes)
{
	int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	if (tree < 0)
		return -errno;
	if (mount_setattr(tree, "", AT_EMPTY_PATH, (struct mount_attr *)attributes, sizeof(*attributes)) < 0) {
		int r = -errno;

		close(tree);
		return r;
	}
	return tree;
}

int mounts_open_writable(const char *path)
{
	const struct mount_attr writable = { .attr_clr = MOUNT_ATTR_RDONLY, .attr_set = ATTRIBUTES };

	return clone_tree(path, &writable);
}

int mounts_resize(int tree, uint64_t pages)
{
	int context = fspick(tree, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC), r = 0;
	char size[32];

	if (context < 0)
		return -errno;
	snprintf(size, sizeof(size), "%" PRIu64, pages * PAGE_BYTES);
	if (fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		r = -errno;
	close(context);
	return r;
}

int mounts_clone(const char *path, const char *target)
{
	const struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY | ATTRIBUTES };
	int tree, r;

	tree = clone_tree(path, &readonly);
	if (tree < 0)
		return tree;
	r = attach(tree, target);
	close(tree);
	return r;
}

bool mounts_is_mounted(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &st) < 0)
		return false;
	return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int mounts_remove(const char *path)
{
	return umount2(path, UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

int mounts_abandon(const char *path)
{
	return umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 ? -errno : 0;
}
