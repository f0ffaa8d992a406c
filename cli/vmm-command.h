/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at a command before it is run: where it is, whether the preload can work in it, and an agent's port. */
#ifndef PAGEFUSE_CLI_VMM_COMMAND_H
#define PAGEFUSE_CLI_VMM_COMMAND_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cli/vmm-version.h"

/** Why a preload would have no effect. */
enum vmm_obstacle {
	VMM_OBSTACLE_NONE = 0,
	VMM_OBSTACLE_SETUID,       /* runs as another user: the dynamic linker drops LD_PRELOAD */
	VMM_OBSTACLE_CAPABILITIES, /* file capabilities: the same */
	VMM_OBSTACLE_STATIC,       /* no dynamic linker at all */
	VMM_OBSTACLE_FOREIGN,      /* of another architecture than the preload */
	VMM_OBSTACLE_GO,           /* written in Go, which makes system calls by itself: the preload sees none */
};

/**
 * Finds @command as execvp() would. @return 0, -ENOENT, -EACCES (found, but not to be executed), -EISDIR,
 * -ENAMETOOLONG, -errno.
 */
int vmm_command_find(const char *command, char ret_path[PATH_MAX]);

/** Looks at the file at @path. Scripts pass: what they start inherits the preload. @return vmm_obstacle, or -errno. */
int vmm_command_check(const char *path);

/**
 * Whether a port for an agent in the guest can be added: it is a QEMU of a PC with PCI, which begins with devices of
 * its own choice and not with those of a saved or migrated VM, and has no such port yet.
 */
bool vmm_command_takes_agent_port(char *const argv[]);

/**
 * The same command, for a QEMU of @version, with such a port, whose other end it connects to the socket @path. @return
 * NULL without memory; else it lasts as long as the process.
 */
char **vmm_command_with_agent_port(char *const argv[], const struct vmm_version *version, const char *path);

#endif
