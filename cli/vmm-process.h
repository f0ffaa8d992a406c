/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A process as /proc shows it, for what doctor wants to know of VMMs. */
#ifndef PAGEFUSE_CLI_VMM_PROCESS_H
#define PAGEFUSE_CLI_VMM_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define VMM_ARGUMENTS_MAX 4096

struct vmm_process {
	pid_t pid;
	char *command_line;    /* what the arguments point into */
	char **arguments;      /* NULL at the end */
	char name[64];         /* of the VM, as `pagefuse run` calls it */
	bool filtered;         /* under a system call filter (seccomp) */
	bool readable;         /* what follows is known */
	bool preload_mapped;   /* the preload or the library is in its address space */
	bool preload_asked;    /* LD_PRELOAD names it */
	bool left_to_kernel;   /* under a filter, with memory that was offered and not taken in by the library */
	char socket_path[108]; /* $PAGEFUSE_SOCKET; "" if there is none */
};

/** Reads /proc/@pid below @root ("" but in tests). @return 0, -ENOENT (gone, or a kernel thread), -errno. */
int vmm_process_read(const char *root, pid_t pid, struct vmm_process *ret_process);
void vmm_process_done(struct vmm_process *process);

/**
 * Calls @visit for each QEMU system emulator below @root, and for each other program in which the library keeps silent
 * because of a filter. @return 0 or -errno if there is no /proc.
 */
int vmm_process_each(const char *root, void (*visit)(const struct vmm_process *process, void *context), void *context);

#endif
