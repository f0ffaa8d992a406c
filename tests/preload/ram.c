/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/preload/ram.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/sys.h"
#include "preload/next.h"
#include "tests/support/test.h"

enum way way;
struct director *director;
struct director_vm *vm;

/* ---- the calls ---- */

/** Of the preload's, or of a libc that has it. */
static int seal_by_name(void *address, size_t length, unsigned long flags)
{
	int (*found)(void *, size_t, unsigned long) = NULL;

	*(void **)&found = dlsym(RTLD_DEFAULT, "mseal");
	return found != NULL ? found(address, length, flags) : (int)syscall(SYS_mseal, address, length, flags);
}

static long by_name(long number, void *address, size_t length, long c, long d, long e, long f)
{
	switch (number) {
	case SYS_madvise:
		return madvise(address, length, (int)c);
	case SYS_mmap:
		return (long)mmap(address, length, (int)c, (int)d, (int)e, f);
	case SYS_munmap:
		return munmap(address, length);
	case SYS_mremap:
		return (long)mremap(address, length, (size_t)c, (int)d, (void *)e);
	case SYS_mprotect:
		return mprotect(address, length, (int)c);
	case SYS_pkey_mprotect:
		return pkey_mprotect(address, length, (int)c, (int)d);
	case SYS_mlock:
		return mlock(address, length);
	case SYS_mlock2:
		return mlock2(address, length, (unsigned)c);
	case SYS_munlock:
		return munlock(address, length);
	case SYS_mlockall:
		return mlockall((int)(long)address);
	case SYS_mseal:
		return seal_by_name(address, length, (unsigned long)c);
	default:
		return syscall(number, address, length, c, d, e, f);
	}
}

long ram_call(long number, void *address, size_t length, long c, long d, long e, long f)
{
	long r;

	if (way == BY_NAME)
		return by_name(number, address, length, c, d, e, f);
	if (way == BY_NUMBER)
		return syscall(number, address, length, c, d, e, f);
	r = sys_raw(number, (long)address, (long)length, c, d, e, f);
	if (!sys_is_error(r))
		return r;
	errno = (int)-r;
	return -1;
}

void ram_advise(const struct ram *ram, uint32_t first, uint32_t count, int advice)
{
	long r = ram_call(SYS_madvise, ram_at(ram, first), count * PAGE_BYTES, advice, 0, 0, 0);

	test_check(r == 0, "madvise %d: %s", advice, strerror(errno));
}

/* ---- RAM ---- */

static bool has_more_regions(const struct director_vm *of, void *context)
{
	return of->region_count > *(unsigned *)context;
}

bool ram_is_gone(const struct director_vm *of, void *context)
{
	(void)context;
	for (unsigned i = 0; i < of->region_count; i++)
		if (!of->regions[i].gone)
			return false;
	return true;
}

/* Only the registration always goes the way of a VMM: the control is about what comes later. */
void ram_offer(struct ram *ram)
{
	unsigned before = vm == NULL ? 0 : vm->region_count;

	test_check(madvise(ram->memory, PAGES * PAGE_BYTES, MADV_MERGEABLE) == 0, "madvise: %s", strerror(errno));
	if (vm == NULL) {
		vm = director_accept(director);
		if (vm->refused[WIRE_REASON_NO_USERFAULTFD] != 0)
			test_skip("memory is left alone: %s", wire_reason_text(WIRE_REASON_NO_USERFAULTFD));
	}
	test_check(director_wait_until(vm, has_more_regions, &before) == 0, "the worker has hung up");
	test_check(vm->regions[before].pages == PAGES, "the region has %u pages", vm->regions[before].pages);
	ram->page = vm->regions[before].page;
}

void ram_write_page(struct ram *ram, uint32_t i, uint64_t content)
{
	ram->contents[i] = content;
	pages_fill(ram_at(ram, i), content);
}

void ram_check(const struct ram *ram, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(ram_at(ram, i), ram->contents[i]) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

/** Of every 8 pages: 4 shared, 1 diverged, 1 given back as zeros, 1 such and written since, 1 private. */
void ram_share(struct ram *ram)
{
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(ram, i, i % 8 == 5 || i % 8 == 6 ? 0 : i + 1);
	director_scan(vm, ram->page, PAGES);
	for (uint32_t i = 0; i < PAGES; i += 8) {
		test_check(director_share(vm, ram->page + i, 5) == 5, "pages from %u on are not shared, but %u", i,
			   vm->pages[ram->page + i].answer);
		test_check(director_zero(vm, ram->page + i + 5, 2) == 2, "pages from %u on are not zero", i + 5);
	}
	ram_check(ram, "after sharing");
	for (uint32_t i = 0; i < PAGES; i += 8) {
		test_check(pages_is_file(ram_at(ram, i)), "page %u does not read the store", i);
		ram_write_page(ram, i + 4, i + 5000);
		ram_write_page(ram, i + 6, i + 6000);
	}
	ram_check(ram, "when some have been written");
}

void ram_begin(struct ram *ram)
{
	ram->memory = pages_map(PAGES, false);
	ram_offer(ram);
	ram_share(ram);
}

void ram_expect_private(const struct ram *ram, uint32_t first, uint32_t count)
{
	director_audit(vm, ram->page, PAGES);
	ram_check(ram, "after the slots have been freed"); /* and brings all pages in, for pagemap to tell */
	for (uint32_t i = first; i < first + count; i++) {
		test_check(vm->pages[ram->page + i].state != DIRECTOR_SHARED, "page %u is still counted", i);
		test_check(!pages_is_file(ram_at(ram, i)), "page %u still reads the store", i);
	}
}

void ram_expect_left_alone(const struct ram *ram, uint32_t first, uint32_t count)
{
	director_scan(vm, ram->page, PAGES);
	test_check(director_share(vm, ram->page + first, count) == 0, "pages from %u on are shared", first);
	ram_check(ram, "after a merge that was refused");
}

void ram_expect_sharing_again(const struct ram *ram, uint32_t first, uint32_t count)
{
	uint64_t last = test_patient_msec() + (uint64_t)TEST_PATIENCE_SECONDS * 1000;

	director_scan(vm, ram->page, PAGES);
	while (director_share(vm, ram->page + first, count) == 0) { /* the kernel may use them all, for a moment */
		test_check(test_patient_msec() < last, "nothing is shared again from page %u on: outcome %u", first,
			   vm->pages[ram->page + first].answer);
		poll(NULL, 0, 10);
	}
	ram_check(ram, "when shared again");
}

void ram_end(const struct ram *ram)
{
	test_check(munmap(ram->memory, PAGES * PAGE_BYTES) == 0, "munmap: %s", strerror(errno));
	test_check(director_wait_until(vm, ram_is_gone, NULL) == 0, "the worker has hung up");
	test_check(director_live_slots(director) == 0, "%llu slots are still in use",
		   (unsigned long long)director_live_slots(director));
}
