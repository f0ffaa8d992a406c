/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See hold-steps.h. The userfaultfd and the scratch area are here, too. */
#include "library/hold-steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "common/hash.h"
#include "library/descriptors.h"
#include "library/kernel.h"
#include "library/own.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"

_Atomic uint64_t hold_busy_pages, hold_kept_private_pages, hold_repaired_moves, hold_new_mappings;
_Atomic uint64_t hold_discards;

#define SCRATCH_BYTES ((HOLD_PAGES + 1) * PAGE_BYTES)

uint64_t hold_scratch;        /* and one more page, for the barrier */
static unsigned scratch_used; /* pages used by holds since it was emptied, from its start on */
unsigned hold_reopened;

static struct descriptor *uffd;
static struct descriptor *uffd_device; /* for opening another userfaultfd */

/* ---- small tools ---- */

uint64_t hold_now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void hold_set_outcomes(const struct hold *hold, uint64_t mask, enum outcome outcome)
{
	for (unsigned i = 0; i < hold->count; i++)
		if (mask >> i & 1)
			hold->outcomes[i] = outcome;
}

int hold_uffd(unsigned long request, void *argument)
{
	return sys_ioctl(descriptor_number(uffd), request, argument);
}

static int uffd_range(unsigned long request, uint64_t start, uint64_t length)
{
	struct uffdio_range range = { .start = start, .len = length };

	return hold_uffd(request, &range);
}

int hold_register(uint64_t start, uint64_t length, uint64_t mode)
{
	struct uffdio_register reg = { .range = { .start = start, .len = length }, .mode = mode };

	return hold_uffd(UFFDIO_REGISTER, &reg);
}

/**
 * Pages can be moved only to a registered range. But nobody resolves faults of missing pages, and a thread that touches
 * an empty page, as mlockall() does, would sleep for ever. So the range is registered for write-protection, which is
 * never applied.
 */
int hold_register_scratch(uint64_t start, uint64_t length)
{
	return hold_register(start, length,
			     PROTECTED(PROTECT_SCRATCH_OPEN) ? UFFDIO_REGISTER_MODE_WP : UFFDIO_REGISTER_MODE_MISSING);
}

/* ---- opening ---- */

static int uffd_new(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MOVE | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	bool had = descriptors_open();
	int fd = sys_userfaultfd(O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd == -EPERM && descriptor_is_there(uffd_device))
		fd = (int)sys_call(SYS_ioctl, descriptor_number(uffd_device), USERFAULTFD_IOC_NEW,
				   O_CLOEXEC | O_NONBLOCK, 0, 0, 0);
	r = descriptor_add(fd, &uffd);
	descriptors_opened(had);
	if (r == 0)
		r = hold_uffd(UFFDIO_API, &api);
	if (r < 0)
		descriptor_close(&uffd);
	return r;
}

static int scratch_new(void)
{
	long address = own_map(SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(address))
		return (int)address;
	hold_scratch = (uint64_t)address;
	sys_madvise(hold_scratch, SCRATCH_BYTES, MADV_DONTFORK);
	sys_madvise(hold_scratch, SCRATCH_BYTES, MADV_DONTDUMP);
	sys_madvise(hold_scratch, SCRATCH_BYTES, MADV_NOHUGEPAGE);
	return 0;
}

int hold_open(struct descriptor *device)
{
	int r;

	if (device != NULL) {
		descriptor_close(&uffd_device);
		uffd_device = device;
	}
	if (descriptor_is_there(uffd))
		return 0;
	if (uffd != NULL && !descriptors_table_is_ours())
		return -EBADF;
	descriptor_close(&uffd);
	r = hold_scratch == 0 ? scratch_new() : 0;
	if (r == 0)
		r = uffd_new();
	if (r == 0)
		r = hold_register_scratch(hold_scratch, HOLD_PAGES * PAGE_BYTES);
	if (r < 0)
		descriptor_close(&uffd);
	return r;
}

bool hold_is_open(void)
{
	return uffd != NULL;
}

void hold_unlock_scratch(void)
{
	if (hold_scratch != 0)
		own_unlock_table(hold_scratch, SCRATCH_BYTES); /* pages cannot be moved to places that are populated */
}

void hold_forget(void)
{
	descriptor_close(&uffd);
	hold_scratch = 0; /* not inherited */
	scratch_used = 0;
}

void hold_close(void)
{
	if (hold_scratch != 0)
		sys_munmap(hold_scratch, SCRATCH_BYTES);
	hold_forget();
	descriptor_close(&uffd_device);
}

uint64_t hold_take_scratch(unsigned count)
{
	unsigned first;

	if (count > HOLD_PAGES - scratch_used)
		hold_empty_scratch();
	first = scratch_used;
	scratch_used += count;
	return hold_scratch + first * PAGE_BYTES;
}

void hold_empty_scratch(void)
{
	if (scratch_used > 0)
		sys_madvise(hold_scratch, scratch_used * PAGE_BYTES, MADV_DONTNEED);
	scratch_used = 0;
}

/** Closing the userfaultfd unregisters all ranges and wakes all sleepers. */
void hold_reopen(void)
{
	hold_reopened++;
	descriptor_close(&uffd);
	hold_open(NULL);
}

/* ---- holding ---- */

static void unregister(uint64_t start, uint64_t length)
{
	for (int attempts = 0; attempts < 8; attempts++)
		if (uffd_range(UFFDIO_UNREGISTER, start, length) == 0)
			return;
	hold_reopen(); /* the last way out */
}

/** Ends the hold of all pages: those not mapped over are unregistered, all sleepers woken. */
void hold_release(const struct hold *hold, uint64_t mapped_over)
{
	unsigned first, run;

	for (uint64_t left = mask_of(0, hold->count) & ~mapped_over; (run = next_run(left, &first)) != 0;
	     left &= ~mask_of(first, run))
		unregister(hold->start + first * PAGE_BYTES, run * PAGE_BYTES);
	if (PROTECTED(PROTECT_WAKE) && uffd_range(UFFDIO_WAKE, hold->start, hold->count * PAGE_BYTES) < 0)
		hold_reopen(); /* the last way out */
}

/**
 * Registers all pages of the hold, or none: if a mapping in the middle cannot be split because of vm.max_map_count, the
 * kernel leaves those before it registered, and a thread that touches a hole in them would wait for ever.
 */
int hold_arm(const struct hold *hold, uint64_t mode)
{
	int r = hold_register(hold->start, hold->count * PAGE_BYTES, mode);

	if (r == -ENOMEM)
		hold_release(hold, 0);
	return r;
}

int hold_try(uint64_t start, uint64_t length)
{
	int r = hold_register(start, length, UFFDIO_REGISTER_MODE_MISSING);

	if (r == 0 || r == -ENOMEM) /* in part */
		unregister(start, length);
	return r;
}

/**
 * Waits for all threads that have a plain reference to one of the pages, such as a write through /proc/PID/mem: they
 * take the reference while they hold the mmap lock for reading, and drop it before they release the lock; mprotect
 * takes the lock for writing.
 */
void hold_barrier(void)
{
	static bool readable;

	if (!PROTECTED(PROTECT_MMAP_LOCK_BARRIER))
		return;
	readable = !readable;
	sys_mprotect(hold_scratch + HOLD_PAGES * PAGE_BYTES, PAGE_BYTES, readable ? PROT_READ : PROT_READ | PROT_WRITE);
}

/* ---- comparing and mapping ---- */

static bool equals_target(const struct hold *hold, unsigned i, const void *page)
{
	if (!PROTECTED(PROTECT_COMPARE))
		return true;
	if (hold->targets[i] == HOLD_ZERO)
		return page_is_zero(page);
	return memcmp(page, hold->slots[i].content, PAGE_BYTES) == 0;
}

static void prefetch(const struct hold *hold, unsigned i, uint64_t page)
{
	page_prefetch((const void *)page);
	if (hold->targets[i] != HOLD_ZERO)
		page_prefetch(hold->slots[i].content);
}

uint64_t hold_compare(const struct hold *hold, uint64_t mask, uint64_t base)
{
	uint64_t equal = 0;

	for (unsigned i = 0; i < hold->count; i++) {
		if (!(mask >> i & 1))
			continue;
		if (mask >> i & 2)
			prefetch(hold, i + 1, base + (i + 1) * PAGE_BYTES);
		if (equals_target(hold, i, (const void *)(base + i * PAGE_BYTES)))
			equal |= mask_of(i, 1);
	}
	hold_set_outcomes(hold, mask & ~equal, OUTCOME_DIFFERS);
	return equal;
}

/** Repeats the region's advice on memory that replaced its pages. */
void hold_repeat_advice(const struct region *region, uint64_t start, uint64_t length)
{
	if (region->dont_fork)
		sys_madvise(start, length, MADV_DONTFORK);
	if (region->dont_dump)
		sys_madvise(start, length, MADV_DONTDUMP);
}

bool hold_is_mapped(uint64_t start, uint64_t length)
{
	unsigned char resident[HOLD_PAGES];

	return sys_raw(SYS_mincore, (long)start, (long)length, (long)resident, 0, 0, 0) != -ENOMEM;
}

/** The kernel first unmaps the old mapping: after that there is no way back, only forward. */
long hold_replace(uint64_t from, uint64_t length, uint64_t to)
{
	long r;

	do
		r = sys_mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	while (sys_is_error(r) && !hold_is_mapped(to, length));
	return r;
}

bool hold_continues(const struct region *region, uint64_t index)
{
	const uint32_t *state = region->state;

	return index > 0 && index < region->pages && (state[index] & state[index - 1] & PAGE_IN_STORE) != 0 &&
	       (state[index] & PAGE_SLOT_MASK) == (state[index - 1] & PAGE_SLOT_MASK) + 1 &&
	       (state[index] & PAGE_SLOT_MASK) % VIEW_SEGMENT_SLOTS != 0;
}

/** Whether a mapping certainly ends before the page at @index. At a region's ends, mappings of the VMM's may adjoin. */
static bool is_boundary(const struct region *region, uint64_t index)
{
	return index > 0 && index < region->pages &&
	       ((region->state[index - 1] | region->state[index]) & PAGE_IN_STORE) != 0 &&
	       !hold_continues(region, index);
}

/**
 * How many mappings a new one of [index, index+count) adds at most: those that it cuts in two, less those that it
 * replaces. Merging with its neighbours by the kernel is not counted on.
 */
static uint64_t mappings_added_by_run(const struct region *region, uint64_t index, uint64_t count)
{
	uint64_t cut = !is_boundary(region, index) + !is_boundary(region, index + count), replaced = 0;

	for (uint64_t i = index + 1; i < index + count; i++)
		replaced += is_boundary(region, i);
	return replaced < cut ? cut - replaced : 0;
}

/** Maps pages [first, first+count) to consecutive slots from the first page's target on. @return 0 or -errno. */
static int map_run(const struct hold *hold, unsigned first, unsigned count)
{
	uint64_t start = hold->start + first * PAGE_BYTES;
	uint64_t added = mappings_added_by_run(hold->region, hold->index + first, count);
	int r = template_put(hold->region, hold->slots[first].staged, count * PAGE_BYTES, start);

	if (r < 0)
		return r;
	atomic_fetch_add_explicit(&hold_new_mappings, added, memory_order_relaxed);
	for (unsigned i = first; i < first + count; i++)
		page_set_state(hold->region, hold->index + i, PAGE_IN_STORE | hold->targets[i]);
	return 0;
}

/** Length of the run of pages in @mask from @first on whose targets are consecutive, and are staged as one. */
static unsigned slot_run(const struct hold *hold, uint64_t mask, unsigned first)
{
	unsigned end = first + 1;

	if (hold->targets[first] == HOLD_ZERO)
		while (end < hold->count && (mask >> end & 1) && hold->targets[end] == HOLD_ZERO)
			end++;
	else
		while (end < hold->count && (mask >> end & 1) &&
		       hold->targets[end] == hold->targets[first] + (end - first) &&
		       hold->targets[end] % VIEW_WINDOW_SLOTS != 0)
			end++;
	return end - first;
}

/** Gives up pages of zeros: if they were moved away there is a hole already, else the hole is made. */
static int zero_run(const struct hold *hold, unsigned first, unsigned count, bool hole_is_there)
{
	int prot = PROT_READ | PROT_WRITE;
	int r = hole_is_there ? 0 : hold_put_anonymous(hold->region, hold->index + first, count, prot);

	for (unsigned i = first; r == 0 && i < first + count; i++)
		page_set_state(hold->region, hold->index + i, PAGE_ZEROED);
	return r;
}

/** Maps every page of @equal to its target. @return mask of the pages mapped; the others' outcome is FULL. */
uint64_t hold_map(const struct hold *hold, uint64_t equal, bool holes_are_there)
{
	uint64_t mapped = 0;

	for (uint64_t left = equal; left != 0;) {
		unsigned first = (unsigned)__builtin_ctzll(left), run = slot_run(hold, left, first);
		bool zero = hold->targets[first] == HOLD_ZERO;
		int r = zero ? zero_run(hold, first, run, holes_are_there) : map_run(hold, first, run);

		left &= ~mask_of(first, run);
		if (r == 0)
			mapped |= mask_of(first, run);
		hold_set_outcomes(hold, mask_of(first, run), r == 0 ? OUTCOME_MERGED : OUTCOME_FULL);
	}
	return mapped;
}

/**
 * How many mappings anonymous memory at [index, index+count) adds. Inside a run it splits the run; beside anonymous
 * memory the kernel merges both into one mapping. If it does not, the next count shows.
 */
static uint64_t mappings_added(const struct region *region, uint64_t index, uint64_t count)
{
	bool before = index > 0 && (region->state[index - 1] & PAGE_IN_STORE) != 0;
	bool behind = index + count < region->pages && (region->state[index + count] & PAGE_IN_STORE) != 0;

	return before && behind ? 2 : 0;
}

void hold_repeat_huge_advice(const struct region *region, uint64_t index, uint64_t count)
{
	uint64_t start = region_hva(region, index), end = start + count * PAGE_BYTES;

	if (region->huge_advice != 0)
		sys_madvise(start, end - start, region->huge_advice);
	for (uint64_t at = index; at < index + count; at++) {
		uint64_t block_end = (region_hva(region, at) / HUGE_BYTES + 1) * HUGE_BYTES;

		if (*region_block(region, at) & BLOCK_BROKEN)
			sys_madvise(region_hva(region, at),
				    (block_end < end ? block_end : end) - region_hva(region, at), MADV_NOHUGEPAGE);
		at = (block_end - region->start) / PAGE_BYTES - 1;
	}
}

/** Like hold_replace(): kernels before 6.12 unmap first, and only then check whether the memory can be committed. */
int hold_put_anonymous(const struct region *region, uint64_t index, uint64_t count, int prot)
{
	uint64_t start = region_hva(region, index);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (region->no_reserve ? MAP_NORESERVE : 0);
	long r;

	do
		r = sys_mmap(start, count * PAGE_BYTES, prot, flags, -1, 0);
	while (sys_is_error(r) && !hold_is_mapped(start, PAGE_BYTES));
	if (sys_is_error(r))
		return (int)r;
	atomic_fetch_add_explicit(&hold_new_mappings, mappings_added(region, index, count), memory_order_relaxed);
	atomic_fetch_add_explicit(&hold_discards, 1, memory_order_relaxed);
	hold_repeat_advice(region, start, count * PAGE_BYTES);
	hold_repeat_huge_advice(region, index, count);
	return 0;
}
