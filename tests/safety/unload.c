/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM closes the library again, with dlclose(), while RAM is shared: the worker goes on, fork handlers find their
 * code, and who opens it once more finds what was left.
 *
 * usage: unload LIBPAGEFUSE
 */
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/director.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define PAGES 64u

static void *library_open(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	test_check(library != NULL, "dlopen: %s", dlerror());
	return library;
}

static void *find(void *library, const char *name)
{
	void *found = dlsym(library, name);

	test_check(found != NULL, "dlsym: %s", dlerror());
	return found;
}

static bool is_gone(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->regions[0].gone;
}

int main(int argc, char **argv)
{
	int (*add_ram)(uint64_t gpa, void *hva, size_t length), (*remove_ram)(void *hva, size_t length);
	struct director *director;
	struct director_vm *vm;
	int status, pid;
	void *library;
	char *memory;
	uint32_t page;

	test_begin(argc, argv);
	test_check(argc > 1, "the library's path is missing");
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	director = director_new();
	library = library_open(argv[1]);
	*(void **)&add_ram = find(library, "pagefuse_add_ram");
	test_check(add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES) == 0, "pagefuse_add_ram");
	vm = director_accept(director);
	page = vm->regions[0].page;
	director_scan(vm, page, PAGES);
	if (director_share(vm, page, PAGES) != PAGES)
		test_skip("nothing can be shared here");

	test_check(dlclose(library) == 0, "dlclose: %s", dlerror());
	director_scan(vm, page, PAGES);
	director_unshare(vm, page, PAGES);
	pid = test_fork();
	if (pid == 0)
		_exit(0);
	status = test_wait_child(pid);
	test_check(status == 0, "a child ended with status %d", status);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(memory + i * PAGE_BYTES, i + 1) >= 0)
			test_damage("page %u reads wrong bytes after dlclose()", i);

	library = library_open(argv[1]);
	*(void **)&remove_ram = find(library, "pagefuse_remove_ram");
	test_check(remove_ram(memory, PAGES * PAGE_BYTES) == 0, "it has forgotten the RAM");
	test_check(director_wait_until(vm, is_gone, NULL) == 0, "the worker has hung up");
	director_free(director);
	return 0;
}
