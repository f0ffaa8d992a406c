/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel unmaps what is in a place before it puts a mapping there, and may have no memory for that mapping just
 * then. And just then the VMM closes the descriptor of the store, past everybody. The guest's bytes are there all the
 * same, of pages that were anonymous and of private copies in the store, and the pages are shared, or given back, or
 * discarded.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "library/protections.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 24u /* one run: put in place at once */
#define FILES_MAX 8u

static char *place;
static atomic_int call;      /* the system call that puts something there */
static atomic_uint failures; /* of those that are to come */

static struct {
	int number, copy;
} files[FILES_MAX];
static unsigned file_count;

/** The library's descriptors of the store: those that can only be read. */
static void find_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;

	test_check(directory != NULL, "/proc/self/fd: %s", strerror(errno));
	file_count = 0;
	while ((entry = readdir(directory)) != NULL) {
		int fd = atoi(entry->d_name);
		char name[64];
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, name, sizeof(name) - 1);

		if (length < 0)
			continue;
		name[length] = '\0';
		if (strstr(name, "pagefuse-store") == NULL || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
			continue;
		test_check(file_count < FILES_MAX, "the library has too many descriptors");
		files[file_count].number = fd;
		files[file_count++].copy = -1;
	}
	closedir(directory);
	test_check(file_count > 0, "the library has no descriptor of the store");
	for (unsigned i = 0; i < file_count; i++)
		files[i].copy = fcntl(files[i].number, F_DUPFD_CLOEXEC, 100);
}

static void close_files(void)
{
	for (unsigned i = 0; i < file_count; i++)
		sys_raw(SYS_close, files[i].number, 0, 0, 0, 0, 0);
}

/** They lead to the same files again, before the worker has noticed. */
static void bring_files_back(void)
{
	for (unsigned i = 0; i < file_count; i++) {
		sys_raw(SYS_dup3, files[i].copy, files[i].number, O_CLOEXEC, 0, 0, 0);
		close(files[i].copy);
	}
}

/** Does to the place what the kernel does to it first; then the call fails, and some more of them. */
static void unmap_first(long number, long second)
{
	if (number != call || second != (long)(PAGES * PAGE_BYTES) || atomic_load(&failures) == 0)
		return;
	sys_raw(SYS_munmap, (long)place, second, 0, 0, 0, 0);
	close_files();
	atomic_fetch_sub(&failures, 1);
	atomic_store(&sys_fail.countdown, 1);
}

static void check(const struct guest *g, bool zeros)
{
	unsigned char resident[PAGES];

	if (mincore(g->memory, PAGES * PAGE_BYTES, resident) < 0)
		test_damage("pages are gone: %s", strerror(errno));
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), zeros ? 0 : i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

static void fail(int number, unsigned count)
{
	call = number;
	sys_fail.number = number;
	find_files();
	atomic_store(&failures, count);
	atomic_store(&sys_watch, unmap_first);
}

static void end_failing(void)
{
	atomic_store(&sys_watch, NULL);
	test_check(atomic_load(&failures) == 0, "system call %d has not failed", atomic_load(&call));
	bring_files_back();
}

static void share_badly(const struct guest *g, unsigned count)
{
	uint32_t slot = director_take_slots(g->director, PAGES);

	director_scan(g->vm, g->page, PAGES);
	test_check(director_fetch(g->vm, g->page, PAGES, slot) == PAGES, "not all pages were fetched");
	fail(SYS_mremap, count);
	director_merge(g->vm, g->page, PAGES, slot);
	end_failing();
	check(g, false);
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(pages_is_file(guest_at(g, i)), "page %u is not of the store", i);
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == PAGES, "not all pages are shared");
}

static void share_badly_all(const struct guest *g)
{
	for (unsigned count = 1; count < 4; count++) {
		if (test_is_control()) /* anonymous pages come back from the scratch */
			guest_share(g, 0, PAGES);
		else
			share_badly(g, count);
		for (uint32_t i = 0; i < PAGES; i++)
			pages_fill(guest_at(g, i), i + 1);
		share_badly(g, count); /* of private copies */
		director_unshare(g->vm, g->page, PAGES);
		guest_make_plain(g, 0, PAGES);
	}
}

/** What is shared becomes zeros: given back by the library, or discarded by the VMM. */
static void empty_badly(const struct guest *g, bool by_vmm, unsigned count)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), i + 1);
	test_check(guest_share(g, 0, PAGES) == PAGES, "not all pages are shared");
	for (uint32_t i = 0; i < PAGES && !by_vmm; i++)
		pages_fill(guest_at(g, i), 0);
	director_scan(g->vm, g->page, PAGES);
	fail(SYS_mmap, count);
	if (by_vmm)
		guest_discard(g, 0, PAGES, MADV_DONTNEED);
	else
		director_zero(g->vm, g->page, PAGES);
	end_failing();
	test_check(pages_anonymous(g->memory, PAGES * PAGE_BYTES) == 0, "they still have memory");
	check(g, true);
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	hold_length_stays = true;
	memory = pages_map(PAGES, false);
	place = memory;
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&(struct guest){ .memory = memory }, i), i + 1);
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = false;
	guest_begin(&g, memory, PAGES);
	share_badly_all(&g);
	if (!(TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER)) { /* which take nearly all addresses */
		test_check(getrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS: %s", strerror(errno));
		limit.rlim_cur = UINT64_C(1) << 46; /* then each run is mapped for itself */
		test_check(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS: %s", strerror(errno));
		share_badly_all(&g);
	}
	for (unsigned count = 1; count < 4; count++) {
		empty_badly(&g, false, count);
		empty_badly(&g, true, count);
	}
	guest_report(&g);
	guest_end(&g);
	return 0;
}
