/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/vmm-command.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/vm-identity.h"
#include "protocol/agent.h"

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#error "say which ELF machine this is"
#endif

#define PROGRAM_HEADERS_MAX 256
#define NOTES_MAX 4096
static const char GO_NOTE[4] = "Go\0";

static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		return -EACCES;
	return 0;
}

static int join_path(char ret_path[PATH_MAX], const char *directory, size_t directory_length, const char *name)
{
	int length = snprintf(ret_path, PATH_MAX, "%.*s/%s", (int)directory_length, directory, name);

	return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int find_in_path(const char *command, char ret_path[PATH_MAX])
{
	const char *place = getenv("PATH");
	int result = -ENOENT;

	if (place == NULL)
		place = "/usr/local/bin:/usr/bin:/bin";
	for (;; place++) {
		size_t length = strcspn(place, ":");
		int r = join_path(ret_path, length > 0 ? place : ".", length > 0 ? length : 1, command);

		if (r == 0)
			r = check_executable(ret_path);
		if (r == 0)
			return 0;
		if (r == -EACCES) /* another directory may have a better one */
			result = r;
		place += length;
		if (*place == '\0')
			return result;
	}
}

int vmm_command_find(const char *command, char ret_path[PATH_MAX])
{
	if (command[0] == '\0')
		return -ENOENT;
	if (strchr(command, '/') == NULL)
		return find_in_path(command, ret_path);
	if (strlen(command) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(ret_path, command);
	return check_executable(ret_path);
}

/** Whether exec would make the process privileged, and the dynamic linker distrust its environment (AT_SECURE). */
static int check_privileges(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
		return VMM_OBSTACLE_SETUID;
	if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid())
		return VMM_OBSTACLE_SETUID;
	if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return VMM_OBSTACLE_CAPABILITIES;
	return VMM_OBSTACLE_NONE;
}

/** Whether these notes, of a file's PT_NOTE, have one of Go's linker. */
static bool is_of_go(const char *notes, size_t length)
{
	Elf64_Nhdr note;

	for (size_t at = 0; length - at >= sizeof(note);) {
		size_t bytes;

		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		bytes = (((size_t)note.n_namesz + 3) & ~(size_t)3) + (((size_t)note.n_descsz + 3) & ~(size_t)3);
		if (bytes > length - at)
			return false;
		if (note.n_namesz == sizeof(GO_NOTE) && memcmp(notes + at, GO_NOTE, sizeof(GO_NOTE)) == 0)
			return true;
		at += bytes;
	}
	return false;
}

static bool has_note_of_go(int fd, const Elf64_Phdr *program)
{
	char notes[NOTES_MAX];
	ssize_t got;

	if (program->p_type != PT_NOTE)
		return false;
	got = pread(fd, notes, program->p_filesz < sizeof(notes) ? program->p_filesz : sizeof(notes),
		    (off_t)program->p_offset);
	return got > 0 && is_of_go(notes, (size_t)got);
}

static int check_elf(int fd)
{
	bool dynamic = false, go = false;
	Elf64_Ehdr header;
	ssize_t got = pread(fd, &header, sizeof(header), 0);

	if (got < 0)
		return -errno;
	if (got < SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return VMM_OBSTACLE_NONE; /* a script, or something of binfmt_misc: exec knows */
	if (got < (ssize_t)sizeof(header) || header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != OWN_MACHINE)
		return VMM_OBSTACLE_FOREIGN;
	if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > PROGRAM_HEADERS_MAX)
		return -ENOEXEC;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		off_t offset = (off_t)(header.e_phoff + i * sizeof(Elf64_Phdr));
		Elf64_Phdr program;

		if (pread(fd, &program, sizeof(program), offset) != sizeof(program))
			return -ENOEXEC;
		dynamic |= program.p_type == PT_INTERP;
		go |= has_note_of_go(fd, &program);
	}
	if (!dynamic)
		return VMM_OBSTACLE_STATIC;
	return go ? VMM_OBSTACLE_GO : VMM_OBSTACLE_NONE;
}

int vmm_command_check(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0) /* what may be executed need not be readable: then exec has to tell */
		return errno == EACCES ? VMM_OBSTACLE_NONE : -errno;
	r = check_privileges(fd);
	if (r == VMM_OBSTACLE_NONE)
		r = check_elf(fd);
	close(fd);
	return r;
}

/* ---- the agent's port ---- */

static bool is_pc(const char *name)
{
	return strcmp(name, "qemu-system-x86_64") == 0 || strcmp(name, "qemu-system-i386") == 0 ||
	       strcmp(name, "qemu-kvm") == 0 || strcmp(name, "kvm") == 0;
}

/** Whether a machine in "pc,accel=kvm", "accel=kvm,type=q35" has PCI, or none is named. */
static bool has_pci(const char *list)
{
	static const char *const without[] = { "isapc", "microvm", "none", "x-remote" };
	const char *type = strstr(list, "type=");
	size_t length;

	type = type != NULL ? type + 5 : list;
	length = strcspn(type, ",");
	for (size_t i = 0; i < sizeof(without) / sizeof(*without); i++)
		if (strlen(without[i]) == length && strncmp(type, without[i], length) == 0)
			return false;
	return true;
}

/** Whether @argument is the option @name, with one dash or two. */
static bool is_option(const char *argument, const char *name)
{
	return argument[0] == '-' && strcmp(argument + 1 + (argument[1] == '-'), name) == 0;
}

bool vmm_command_takes_agent_port(char *const argv[])
{
	if (!is_pc(vm_identity_program(argv[0])))
		return false;
	for (int i = 1; argv[i] != NULL; i++) {
		if (strstr(argv[i], AGENT_PORT) != NULL || is_option(argv[i], "readconfig"))
			return false;
		if ((is_option(argv[i], "M") || is_option(argv[i], "machine")) && argv[i + 1] != NULL &&
		    !has_pci(argv[i + 1]))
			return false;
	}
	return true;
}

/** @path as a value in a list of QEMU's: commas twice. NULL without memory. */
static char *list_value(const char *path)
{
	char *value = malloc(2 * strlen(path) + 1), *end = value;

	if (value == NULL)
		return NULL;
	for (; *path != '\0'; path++) {
		*end++ = *path;
		if (*path == ',')
			*end++ = ',';
	}
	*end = '\0';
	return value;
}

/** How often QEMU looks for the socket. reconnect-ms came with 9.2, and reconnect goes after 10. */
static const char *reconnect_option(const struct vmm_version *version)
{
	bool in_seconds = version->major < 9 || (version->major == 9 && version->minor < 2);

	return in_seconds ? "reconnect=1" : "reconnect-ms=1000";
}

char **vmm_command_with_agent_port(char *const argv[], const struct vmm_version *version, const char *path)
{
	static char chardev[] = "-chardev", device[] = "-device", bus[] = "virtio-serial-pci,id=pagefuse-agent-bus",
		    port[] = "virtserialport,bus=pagefuse-agent-bus.0,chardev=pagefuse-agent,name=" AGENT_PORT;
	char *value = list_value(path), *socket = NULL, **command;
	size_t count = 0;

	while (argv[count] != NULL)
		count++;
	command = calloc(count + 7, sizeof(*command));
	if (value == NULL || command == NULL ||
	    asprintf(&socket, "socket,id=pagefuse-agent,path=%s,%s", value, reconnect_option(version)) < 0) {
		free(value);
		free(command);
		return NULL;
	}
	free(value);
	memcpy(command, argv, count * sizeof(*command));
	memcpy(command + count, (char *[]){ chardev, socket, device, bus, device, port }, 6 * sizeof(*command));
	return command;
}
