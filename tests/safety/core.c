/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core of a VMM that crashes has the guest's memory, also what is shared, as it would have had without; with
 * MADV_DONTDUMP it has none; and in no case anything of the store that this VMM does not map.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/guest.h"

#define PAGES 512u
#define OTHERS 4000000u /* content of a page that only others share */

static char folder[256];
static char *memory;

struct core {
	const char *bytes;
	size_t size;
};

static uint64_t content_of(uint32_t index)
{
	return index % 16 == 15 ? 0 : index + 1;
}

/** Runs of 3 and of 9 pages, zeros given back, pages written since, pages that never were shared. */
static _Noreturn void crash(void)
{
	static const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	FILE *filter = fopen("/proc/self/coredump_filter", "we");
	struct guest g;
	uint32_t slot;

	test_check(filter != NULL && fputs("0x31\n", filter) >= 0 && fclose(filter) == 0,
		   "coredump_filter: %s", strerror(errno)); /* as usual, without the store as the director has it */
	test_check(chdir(folder) == 0 && setrlimit(RLIMIT_CORE, &unlimited) == 0, "%s: %s", folder, strerror(errno));
	setenv("TMPDIR", folder, 1); /* for the director's socket, which is left behind */
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, content_of(i));
	guest_begin(&g, memory, PAGES);
	slot = director_take_slots(g.director, 1);
	pages_fill(director_slot(g.director, slot), OTHERS);
	director_scan(g.vm, g.page, PAGES);
	for (uint32_t i = 0; i < PAGES; i += 16) {
		test_check(director_share(g.vm, g.page + i, 3) == 3, "pages from %u on are not shared", i);
		test_check(director_share(g.vm, g.page + i + 4, 9) == 9, "pages from %u on are not shared", i + 4);
		test_check(director_zero(g.vm, g.page + i + 15, 1) == 1, "page %u is not given back", i + 15);
		pages_fill(guest_at(&g, i + 1), content_of(i + 1));
	}
	signal(SIGABRT, SIG_DFL);
	abort();
}

static bool is_dumped_to_a_file(void)
{
	FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
	int first;

	test_check(file != NULL, "core_pattern: %s", strerror(errno));
	first = fgetc(file);
	fclose(file);
	return first != '|' && first != '/' && first != '@';
}

/** The one regular file in the folder. */
static struct core map_core(void)
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;
	struct core core = { NULL, 0 };
	struct stat st;
	char path[600] = "";
	int fd;

	test_check(directory != NULL, "%s: %s", folder, strerror(errno));
	while ((entry = readdir(directory)) != NULL)
		if (entry->d_type == DT_REG)
			snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
	closedir(directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	test_check(fd >= 0 && fstat(fd, &st) == 0, "there is no core in %s", folder);
	core.size = (size_t)st.st_size;
	core.bytes = mmap(NULL, core.size, PROT_READ, MAP_PRIVATE, fd, 0);
	test_check(core.bytes != MAP_FAILED, "mmap: %s", strerror(errno));
	close(fd);
	return core;
}

/** @return the page in the core, or NULL: it has none. */
static const void *core_page(const struct core *core, const void *address)
{
	const Elf64_Ehdr *header = (const void *)core->bytes;
	const Elf64_Phdr *segments = (const void *)(core->bytes + header->e_phoff);

	for (unsigned i = 0; i < header->e_phnum; i++) {
		uint64_t at = (uint64_t)address - segments[i].p_vaddr;

		if (segments[i].p_type == PT_LOAD && (uint64_t)address >= segments[i].p_vaddr &&
		    at < segments[i].p_filesz)
			return core->bytes + segments[i].p_offset + at;
	}
	return NULL;
}

static void look_for_others(const struct core *core)
{
	for (size_t at = 0; at + PAGE_BYTES <= core->size; at += PAGE_BYTES)
		if (pages_differ(core->bytes + at, OTHERS) < 0)
			test_damage("the core has a page that the VMM did not map");
}

/** Also what the VMM had no time to remove. */
static void clean_up(void)
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory != NULL)
		closedir(directory);
	rmdir(folder);
}

int main(int argc, char **argv)
{
	bool dumped;
	struct core core;
	int status;
	pid_t pid;

	test_begin(argc, argv);
	if (TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER)
		test_skip("a core would have the sanitizer's memory");
	if (!is_dumped_to_a_file())
		test_skip("kernel.core_pattern sends cores elsewhere");
	test_needs_moves();
	snprintf(folder, sizeof(folder), "%s/pagefuse-core-XXXXXX", test_folder());
	test_check(mkdtemp(folder) != NULL, "%s: %s", folder, strerror(errno));
	test_at_end(clean_up);
	memory = pages_map(PAGES, false);
	dumped = !test_wants("--dont-dump");
	if (!dumped)
		madvise(memory, PAGES * PAGE_BYTES, MADV_DONTDUMP);
	pid = test_fork();
	if (pid == 0)
		crash();
	status = test_wait_child(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		test_skip("the VMM cannot share here");
	test_check(WIFSIGNALED(status) && WCOREDUMP(status), "the VMM ended with status %#x", (unsigned)status);
	core = map_core();
	for (uint32_t i = 0; i < PAGES; i++) {
		const void *page = core_page(&core, memory + i * PAGE_BYTES);

		if (dumped && (page == NULL || pages_differ(page, content_of(i)) >= 0))
			test_damage("page %u is not in the core", i);
		if (!dumped && page != NULL)
			test_damage("page %u is in the core, and was not to be", i);
	}
	look_for_others(&core);
	fprintf(stderr, "a core of %zu MiB\n", core.size >> 20);
	clean_up();
	return 0;
}
