/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/vmm-process.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/vmm-command.h"
#include "common/proc.h"
#include "common/vm-identity.h"

#define COMMAND_LINE_BYTES_MAX (1 << 20)
#define OURS "libpagefuse" /* in the names of the library and the preload */

/** Reads a file of strings that end in zero bytes; adds a zero of its own. @return bytes, or -errno. */
static ssize_t read_strings(const char *root, pid_t pid, const char *file, char **ret_text)
{
	FILE *stream = proc_open(root, pid, file);
	char *text;
	size_t size;

	if (stream == NULL)
		return -errno;
	text = malloc(COMMAND_LINE_BYTES_MAX + 1);
	if (text == NULL) {
		fclose(stream);
		return -ENOMEM;
	}
	size = fread(text, 1, COMMAND_LINE_BYTES_MAX, stream);
	fclose(stream);
	text[size] = '\0';
	*ret_text = text;
	return (ssize_t)size;
}

static int read_arguments(const char *root, struct vmm_process *process)
{
	ssize_t size = read_strings(root, process->pid, "cmdline", &process->command_line);
	size_t count = 0;

	if (size <= 0)
		return size < 0 ? (int)size : -ENOENT;
	process->arguments = calloc(VMM_ARGUMENTS_MAX + 1, sizeof(char *));
	if (process->arguments == NULL)
		return -ENOMEM;
	for (char *text = process->command_line; text < process->command_line + size && count < VMM_ARGUMENTS_MAX;
	     text += strlen(text) + 1)
		process->arguments[count++] = text;
	return 0;
}

static bool find_line(const char *root, pid_t pid, const char *file, const char *start, const char *text)
{
	FILE *stream = proc_open(root, pid, file);
	bool found = stream != NULL && proc_find(stream, start, text);

	if (stream != NULL)
		fclose(stream);
	return found;
}

static bool is_filtered(const char *root, pid_t pid)
{
	return find_line(root, pid, "status", "Seccomp:", "\t2\n"); /* the mode is that of filters */
}

/** Memory is marked with the kernel, which the library leaves out where it takes it in. */
static bool has_offered(const char *root, pid_t pid)
{
	return find_line(root, pid, "smaps", "VmFlags:", " mg");
}

/** The library is in it, it is under a filter, and has left to the kernel what was offered. */
static bool is_silent(const char *root, pid_t pid)
{
	/* Looks as closely only at processes that are under a filter. */
	return is_filtered(root, pid) && find_line(root, pid, "maps", "", OURS) && has_offered(root, pid);
}

/** The value of a variable among @size bytes of strings; NULL if it is not there. */
static const char *find_variable(const char *environment, ssize_t size, const char *name)
{
	size_t length = strlen(name);

	for (const char *text = environment; text < environment + size; text += strlen(text) + 1)
		if (strncmp(text, name, length) == 0 && text[length] == '=')
			return text + length + 1;
	return NULL;
}

/** What does not fit is left out: the daemon and the preload do not take it either. */
static void take_variable(const char *value, char *ret, size_t size)
{
	if (value != NULL && value[0] != '\0' && strlen(value) < size)
		strcpy(ret, value);
}

static void read_environment(const char *root, struct vmm_process *process)
{
	char *environment = NULL;
	ssize_t size = read_strings(root, process->pid, "environ", &environment);
	const char *preload;

	if (size < 0)
		return;
	preload = find_variable(environment, size, "LD_PRELOAD");
	process->preload_asked = preload != NULL && strstr(preload, OURS) != NULL;
	if (process->preload_asked)
		take_variable(find_variable(environment, size, "PAGEFUSE_NAME"), process->name, sizeof(process->name));
	take_variable(find_variable(environment, size, "PAGEFUSE_SOCKET"), process->socket_path,
		      sizeof(process->socket_path));
	process->readable = true;
	free(environment);
}

static void read_preload(const char *root, struct vmm_process *process)
{
	FILE *maps = proc_open(root, process->pid, "maps");

	process->filtered = is_filtered(root, process->pid);
	if (maps == NULL)
		return;
	process->preload_mapped = proc_find(maps, "", OURS);
	fclose(maps);
	process->left_to_kernel = is_silent(root, process->pid);
	read_environment(root, process);
}

int vmm_process_read(const char *root, pid_t pid, struct vmm_process *ret_process)
{
	struct vmm_process process = { .pid = pid };
	int r = read_arguments(root, &process);

	if (r < 0) {
		vmm_process_done(&process);
		return r;
	}
	vm_identity_name(process.arguments, pid, process.name, sizeof(process.name));
	read_preload(root, &process);
	*ret_process = process;
	return 0;
}

void vmm_process_done(struct vmm_process *process)
{
	free(process->command_line);
	free(process->arguments);
	process->command_line = NULL;
	process->arguments = NULL;
}

static bool is_qemu(const char *path)
{
	const char *program = vm_identity_program(path);

	return strncmp(program, "qemu-system-", 12) == 0 || strcmp(program, "qemu-kvm") == 0 ||
	       strcmp(program, "kvm") == 0;
}

/** Whether the first argument of a process is a QEMU's; most processes need not be looked at any further. */
static bool runs_qemu(const char *root, pid_t pid)
{
	FILE *file = proc_open(root, pid, "cmdline");
	char first[PATH_MAX];
	size_t size;

	if (file == NULL)
		return false;
	size = fread(first, 1, sizeof(first) - 1, file);
	fclose(file);
	first[size] = '\0';
	return is_qemu(first);
}

int vmm_process_each(const char *root, void (*visit)(const struct vmm_process *process, void *context), void *context)
{
	char path[PATH_MAX];
	DIR *directory;
	pid_t pid;

	if (snprintf(path, sizeof(path), "%s/proc", root) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	directory = opendir(path);
	if (directory == NULL)
		return -errno;
	while ((pid = proc_next(directory)) > 0) {
		struct vmm_process process;

		if (!(runs_qemu(root, pid) || is_silent(root, pid)) || vmm_process_read(root, pid, &process) < 0)
			continue;
		visit(&process, context);
		vmm_process_done(&process);
	}
	closedir(directory);
	return 0;
}
