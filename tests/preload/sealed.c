/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RAM that a VMM seals (mseal) once it is shared: whatever is done to it then gives what it gives over a twin of it, of
 * which nothing is known: the same result, or errno, and the same bytes. So does what was sealed unseen, as far as can
 * be.
 *
 * usage: sealed [--by-number]         with libc's functions, or with syscall()
 *        sealed --past                past the preload: the control, which must see that it is not the same
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/files.h"
#include "library/sys.h"
#include "preload/next.h"
#include "tests/preload/ram.h"
#include "tests/support/swap.h"
#include "tests/support/test.h"

#define BYTES (PAGES * PAGE_BYTES)
#define MAP_OVER (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)

static const struct call {
	const char *name;
	long number, c, d;
} calls[] = {
	{ "mremap", SYS_mremap, 2 * BYTES, MREMAP_MAYMOVE },
	{ "mremap that leaves the place mapped", SYS_mremap, BYTES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP },
	{ "mremap that shrinks", SYS_mremap, BYTES / 2, 0 },
	{ "munmap", SYS_munmap, 0, 0 },
	{ "mmap over it", SYS_mmap, PROT_READ | PROT_WRITE, MAP_OVER },
	{ "PROT_READ", SYS_mprotect, PROT_READ, 0 },
	{ "PROT_NONE", SYS_mprotect, PROT_NONE, 0 },
	{ "PROT_READ and PROT_EXEC", SYS_mprotect, PROT_READ | PROT_EXEC, 0 },
	{ "MADV_DONTNEED", SYS_madvise, MADV_DONTNEED, 0 },
	{ "MADV_DONTNEED_LOCKED", SYS_madvise, MADV_DONTNEED_LOCKED, 0 },
	{ "MADV_REMOVE", SYS_madvise, MADV_REMOVE, 0 },
	{ "MADV_DONTFORK", SYS_madvise, MADV_DONTFORK, 0 },
	{ "MADV_WIPEONFORK", SYS_madvise, MADV_WIPEONFORK, 0 },
	{ "MADV_UNMERGEABLE", SYS_madvise, MADV_UNMERGEABLE, 0 },
	{ "mlock", SYS_mlock, 0, 0 },
	{ "mseal once more", SYS_mseal, 0, 0 },
};

/** The fifth argument: no descriptor, no address. */
static long fifth_of(const struct call *call)
{
	return call->number == SYS_mmap ? -1 : 0;
}

/** @return 0 or an errno. */
static int make_past(const struct call *call, void *address)
{
	long r = sys_raw(call->number, (long)address, (long)BYTES, call->c, call->d, fifth_of(call), 0);

	return sys_is_error(r) ? (int)-r : 0;
}

static int make(const struct call *call, const struct ram *ram)
{
	return ram_call(call->number, ram->memory, BYTES, call->c, call->d, fifth_of(call), 0) == -1 ? errno : 0;
}

static void check_same(const struct ram *ram, const char *twin, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (memcmp(ram_at(ram, i), twin + i * PAGE_BYTES, PAGE_BYTES) != 0)
			test_damage("page %u reads other bytes than its twin %s", i, when);
}

/** What a child finds there, which is wiped, or the same. */
static void check_same_in_child(const struct ram *ram, const char *twin)
{
	int pid = test_fork();

	if (pid == 0) {
		check_same(ram, twin, "in a child");
		_exit(0);
	}
	test_end_child(pid);
}

static void begin(struct ram *ram, char **ret_twin)
{
	ram->memory = pages_map(PAGES, false);
	ram_offer(ram);
	ram_share(ram);
	*ret_twin = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		if (ram->contents[i] != 0)
			pages_fill(*ret_twin + i * PAGE_BYTES, ram->contents[i]);
}

static void seal_twin(char *twin, uint32_t first, uint32_t count)
{
	long r = sys_raw(SYS_mseal, (long)(twin + first * PAGE_BYTES), (long)(count * PAGE_BYTES), 0, 0, 0, 0);

	test_check(r == 0, "mseal of the twin: %s", strerror((int)-r));
}

static void seal(const struct ram *ram, char *twin, uint32_t first, uint32_t count)
{
	test_check(ram_call(SYS_mseal, ram_at(ram, first), count * PAGE_BYTES, 0, 0, 0, 0) == 0, "mseal: %s",
		   strerror(errno));
	seal_twin(twin, first, count);
	check_same(ram, twin, "after mseal");
}

/** @return 0 or an errno; the same for both, or it is damage. */
static int make_both(const struct call *call, struct ram *ram, char *twin)
{
	int expected = make_past(call, twin), error = make(call, ram);

	if (error != expected)
		test_damage("%s gives '%s', and without the preload '%s'", call->name, strerror(error),
			    strerror(expected));
	check_same(ram, twin, call->name);
	if (error == 0 && call->number == SYS_madvise && call->c != MADV_DONTFORK)
		check_same_in_child(ram, twin);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(twin + i * PAGE_BYTES, 0) < 0)
			ram->contents[i] = 0;
	return error;
}

/** For director_wait_until(). What a child may read is counted until the library has seen that there is none. */
static bool is_told(const struct director_vm *of, void *first)
{
	return director_count(of, *(uint32_t *)first, PAGES, DIRECTOR_SHARED) == 0;
}

static void test_call(const struct call *call)
{
	struct ram ram;
	char *twin;

	begin(&ram, &twin);
	seal(&ram, twin, 0, PAGES);
	make_both(call, &ram, twin);
	if (pages_is_file(ram_at(&ram, 0)) && pages_differ(ram_at(&ram, 0), 0) >= 0)
		test_damage("what is sealed is still shared");
	test_check(director_wait_until(vm, is_told, &ram.page) == 0, "the worker has hung up");
	ram_expect_private(&ram, 0, PAGES);
	ram_expect_left_alone(&ram, 0, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_check(&ram, call->name);
	test_check(director_live_slots(director) == 0, "slots are still in use");
}

/** What lies beside goes on to be shared, and a discard goes over both. */
static void test_part(void)
{
	static const struct call discard = { "MADV_DONTNEED", SYS_madvise, MADV_DONTNEED, 0 };
	struct ram ram;
	char *twin;

	begin(&ram, &twin);
	seal(&ram, twin, 18, 21);
	ram_expect_private(&ram, 18, 21);
	test_check(pages_is_file(ram_at(&ram, 16)) && pages_is_file(ram_at(&ram, 40)), "what is not sealed left, too");
	ram_expect_left_alone(&ram, 18, 21);
	ram_expect_sharing_again(&ram, 0, 18);
	make_both(&discard, &ram, twin);
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_expect_left_alone(&ram, 18, 21);
	ram_expect_sharing_again(&ram, 39, PAGES - 39);
	ram_advise(&ram, 0, PAGES, MADV_UNMERGEABLE);
}

/** A userfaultfd of the VMM's own, over memory of which some is not there. */
static void test_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct ram ram;
	char *twin;

	if (fd < 0)
		test_skip("userfaultfd: %s", strerror(errno));
	test_check(ioctl(fd, UFFDIO_API, &api) == 0, "UFFDIO_API: %s", strerror(errno));
	begin(&ram, &twin);
	seal(&ram, twin, 0, PAGES);
	range.range = (struct uffdio_range){ (uint64_t)ram.memory, BYTES };
	test_check(ioctl(fd, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
	check_same(&ram, twin, "under a userfaultfd");
	close(fd);
}

/** Copies that may be pinned stay in the store when it is sealed. */
static void test_pinned(const struct call *call)
{
	struct ram ram;
	char *twin;

	begin(&ram, &twin);
	seal(&ram, twin, 0, PAGES);
	make_both(call, &ram, twin);
	ram_expect_left_alone(&ram, 0, PAGES);
	director_unshare(vm, ram.page, PAGES);
	check_same(&ram, twin, "when unshared");
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_check(&ram, call->name);
}

/** Nobody saw it being sealed: what is shared stays so, and nothing can take its place. */
static void test_unseen(const struct call *call)
{
	struct ram ram;
	char *twin;

	begin(&ram, &twin);
	seal_twin(ram.memory, 0, PAGES);
	seal_twin(twin, 0, PAGES);
	director_scan(vm, ram.page, PAGES);
	director_share(vm, ram.page, PAGES);
	director_zero(vm, ram.page, PAGES);
	check_same(&ram, twin, "after merges that cannot be");
	make_both(call, &ram, twin);
	director_unshare(vm, ram.page, PAGES);
	check_same(&ram, twin, "when unshared");
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_check(&ram, call->name);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	way = test_wants("--past") ? PAST : test_wants("--by-number") ? BY_NUMBER
								      : BY_NAME;
	if (sys_raw(SYS_mseal, 0, 0, 0, 0, 0, 0) != 0)
		test_skip("this kernel does not seal memory");
	director = director_new();
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		test_call(&calls[i]);
	test_part();
	test_userfaultfd();
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i].c != MADV_WIPEONFORK) /* which mappings of the store cannot have */
			test_unseen(&calls[i]);
	files_note_pins(); /* for good */
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && !swap_is_there(); i++)
		if (calls[i].c != MADV_WIPEONFORK)
			test_pinned(&calls[i]);
	director_free(director);
	return 0;
}
