/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which version of QEMU a program is. */
#ifndef PAGEFUSE_CLI_VMM_VERSION_H
#define PAGEFUSE_CLI_VMM_VERSION_H

/** How long a program may take to tell. */
#define VMM_VERSION_SECONDS 10

struct vmm_version {
	unsigned major, minor;
};

/**
 * Runs the program at @path with --version, as people do, with nothing to read and without showing a word of it. It,
 * and what it has started, has ended by the return. @return 0; -ENODATA: it tells no version; -ETIMEDOUT; -errno.
 */
int vmm_version_ask(const char *path, struct vmm_version *ret);

#endif
