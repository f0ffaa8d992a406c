/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/page.h"
#include "tests/support/test.h"

#define NODE_CACHED 2
#define NODE_UNCACHED 3

static const struct fuse_plan *plan;

static void reply(int fuse, uint64_t unique, int error, const void *data, size_t length)
{
	struct fuse_out_header header = { .len = (uint32_t)(sizeof(header) + length),
					  .error = error,
					  .unique = unique };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)data, length } };

	if (writev(fuse, parts, length > 0 ? 2 : 1) < 0 && errno != ENOENT)
		_exit(1);
}

void fuse_reply(const struct fuse_read *read, const void *data, size_t length)
{
	reply(read->fuse, read->unique, 0, data, length);
}

static struct fuse_attr attributes_of(uint64_t node)
{
	return (struct fuse_attr){ .ino = node,
				   .mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644,
				   .size = node == FUSE_ROOT_ID ? 0 : plan->file_bytes,
				   .nlink = 1 };
}

static void answer_lookup(int fuse, uint64_t unique, const char *name)
{
	uint64_t node = strcmp(name, FUSE_UNCACHED) == 0 ? NODE_UNCACHED : NODE_CACHED;
	struct fuse_entry_out entry = {
		.nodeid = node, .entry_valid = 3600, .attr_valid = 3600, .attr = attributes_of(node)
	};

	reply(fuse, unique, 0, &entry, sizeof(entry));
}

static void answer(int fuse, const struct fuse_in_header *in)
{
	struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096, .time_gran = 1 };
	struct fuse_attr_out attributes = { .attr_valid = 3600, .attr = attributes_of(in->nodeid) };
	struct fuse_statfs_out file_system = { .st = { .bsize = 4096, .namelen = 255 } };
	struct fuse_open_out opened = { .fh = 1, .open_flags = in->nodeid == NODE_UNCACHED ? FOPEN_DIRECT_IO : 0 };
	const struct fuse_read_in *asked = (const void *)(in + 1);

	switch (in->opcode) {
	case FUSE_INIT:
		reply(fuse, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_GETATTR:
		reply(fuse, in->unique, 0, &attributes, sizeof(attributes));
		break;
	case FUSE_LOOKUP:
		answer_lookup(fuse, in->unique, (const char *)(in + 1));
		break;
	case FUSE_OPEN:
		reply(fuse, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_STATFS:
		reply(fuse, in->unique, 0, &file_system, sizeof(file_system));
		break;
	case FUSE_READ:
		plan->read(&(struct fuse_read){ fuse, in->unique, asked->offset, asked->size });
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	case FUSE_RELEASE:
		reply(fuse, in->unique, 0, NULL, 0);
		break;
	default:
		reply(fuse, in->unique, -ENOSYS, NULL, 0);
	}
}

static _Noreturn void serve(int fuse)
{
	static _Alignas(8) char request[FUSE_MIN_READ_BUFFER + PAGE_BYTES];

	signal(SIGCHLD, SIG_IGN);
	if (plan->begin != NULL)
		plan->begin();
	while (read(fuse, request, sizeof(request)) > 0 || errno == EINTR || errno == ENOENT)
		answer(fuse, (const struct fuse_in_header *)request);
	_exit(0);
}

int fuse_begin(const struct fuse_plan *of)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[64];

	if (fuse < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (mount("pagefuse-test", of->folder, "fuse", 0, options) != 0) {
		int error = errno;

		close(fuse);
		return -error;
	}
	plan = of;
	for (unsigned i = 0; i < of->servers; i++)
		if (test_fork() == 0)
			serve(fuse);
	close(fuse);
	return 0;
}
