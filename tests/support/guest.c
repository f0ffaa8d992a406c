/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "library/sys.h"

static bool has_all_regions_gone(const struct director_vm *vm, void *context)
{
	(void)context;
	for (unsigned i = 0; i < vm->region_count; i++)
		if (!vm->regions[i].gone)
			return false;
	return true;
}

void guest_begin(struct guest *guest, void *memory, uint32_t pages)
{
	static const struct director_greeting greeting = {
		.bytes = sizeof(struct wire_welcome),
		.features = UINT64_C(1) << WIRE_FEATURE_WHOLE, /* see guest_whole() */
	};
	int r;

	*guest = (struct guest){ .director = director_new(), .memory = memory, .pages = pages };
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, pages * PAGE_BYTES);
	test_check(r == 0, "pagefuse_add_ram: %s", strerror(-r));
	director_greet(guest->director, &greeting);
	guest->vm = director_accept(guest->director);
	for (uint32_t reason = 0; reason < WIRE_REASON_END; reason++)
		if (guest->vm->refused[reason] != 0 && reason == WIRE_REASON_NO_USERFAULTFD)
			test_skip("memory is left alone: %s", wire_reason_text(reason));
	test_check(guest->vm->region_count == 1 && guest->vm->regions[0].pages == pages,
		   "the worker told of %u regions", guest->vm->region_count);
	guest->page = guest->vm->regions[0].page;
}

void guest_end(struct guest *guest)
{
	int r = pagefuse_remove_ram(guest->memory, guest->pages * PAGE_BYTES);

	test_check(r == 0, "pagefuse_remove_ram: %s", strerror(-r));
	test_check(director_wait_until(guest->vm, has_all_regions_gone, NULL) == 0, "the worker has hung up");
	test_check(director_live_slots(guest->director) == 0, "%llu slots are still in use",
		   (unsigned long long)director_live_slots(guest->director));
	director_free(guest->director);
}

uint32_t guest_share(const struct guest *guest, uint32_t index, uint32_t count)
{
	director_scan(guest->vm, guest->page + index, count);
	return director_share(guest->vm, guest->page + index, count);
}

enum ring_whole guest_whole(const struct guest *guest, uint32_t index, uint32_t count, uint32_t most, bool collapse)
{
	struct ring_record record = { .op = ORDER_WHOLE, .count = (uint16_t)count, .page = guest->page + index };

	record.flags = collapse ? RING_COLLAPSE : 0;
	record.value = most;
	guest->vm->whole = WHOLE_KEPT;
	guest->vm->pending++;
	director_post(guest->vm, &record);
	director_wait(guest->vm);
	return guest->vm->whole;
}

void guest_churn(const struct guest *guest, uint64_t *random)
{
	director_churn(guest->vm, guest->page, guest->pages, random);
}

/** Tells the library that the VMM puts @change into effect there; the VMM's own call is left out. */
static void bracket(enum memory_change change, void *address, size_t length)
{
	int r = memory_change_begin(change, address, length, 0);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	memory_change_end(change, address, length, 0, true);
}

void guest_make_plain(const struct guest *guest, uint32_t index, uint32_t count)
{
	void *address = guest_at(guest, index);

	bracket(CHANGE_USERFAULTFD, address, count * PAGE_BYTES);
	bracket(CHANGE_USERFAULTFD_END, address, count * PAGE_BYTES);
}

int guest_discard(const struct guest *guest, uint32_t index, uint32_t count, int advice)
{
	void *address = guest_at(guest, index);
	size_t length = count * PAGE_BYTES;
	int r = memory_change_begin(CHANGE_DISCARD, address, length, advice);

	if (r != 0)
		return r < 0 ? r : 0; /* the library has done it all */
	r = syscall(SYS_madvise, address, length, advice) < 0 ? -errno : 0;
	memory_change_end(CHANGE_DISCARD, address, length, advice, r == 0);
	return r;
}

void guest_discard_in_vain(const struct guest *guest, uint32_t index)
{
	int r;

	sys_fail.number = SYS_mmap;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = true;
	atomic_store(&sys_fail.countdown, 1);
	r = guest_discard(guest, index, 1, MADV_DONTNEED);
	atomic_store(&sys_fail.countdown, 0);
	test_check(r == 0, "madvise: %s", strerror(-r));
	test_check(pages_differ(guest_at(guest, index), 0) < 0, "page %u was discarded and is not empty", index);
	test_check(pages_frame(guest_at(guest, index)) != 0, "page %u was discarded, with no mapping to be had", index);
}

/** Any run, or one around a page that is being written: most changes then happen during the hold. */
static void choose_run(const struct guest *guest, const struct writers *writers, uint64_t *random, uint32_t *ret_first,
		       uint32_t *ret_count)
{
	uint32_t count = 1 + (uint32_t)(test_random(random) % RING_RUN_PAGES_MAX);
	uint32_t first = (uint32_t)(test_random(random) % guest->pages);

	if (test_random(random) % 2) {
		first = (uint32_t)writers_hot_page(writers, random);
		first -= first < 8 ? first : 8;
		count = count % 16 + 1;
	}
	*ret_first = first;
	*ret_count = count < guest->pages - first ? count : guest->pages - first;
}

/** Some 2 MiB page that was split comes back, whatever is shared in it. */
static void give_back(const struct guest *guest, uint64_t *random)
{
	const uint32_t block = HUGE_BYTES / PAGE_BYTES;
	uint32_t first = (uint32_t)(test_random(random) % (guest->pages / block)) * block;

	guest_whole(guest, first, block, block, true);
}

void guest_work(const struct guest *guest, struct writers *writers)
{
	const uint64_t *reports = guest->vm->reports;
	uint64_t random = test_seed(1);

	/* A slow build may need longer than its time to see each at least once. */
	while (test_running() || reports[REPORT_MERGED] == 0 || reports[REPORT_DIVERGED] == 0) {
		uint32_t first, count;

		writers_check_awake(writers);
		if (guest->works_on_blocks && test_random(&random) % 8 == 0)
			give_back(guest, &random);
		choose_run(guest, writers, &random, &first, &count);
		switch (test_random(&random) % 4) {
		case 0:
			guest_churn(guest, &random);
			break;
		case 1:
			guest_share(guest, first, count); /* most have been shared before: held by write-protection */
			break;
		default:
			guest_make_plain(guest, first, count); /* held by moving */
			guest_share(guest, first, count);
		}
	}
}

void guest_finish(struct guest *guest, struct writers *writers, uint64_t writes)
{
	const uint64_t *reports = guest->vm->reports;

	guest_report(guest);
	fprintf(stderr, "%llu writes, none lost\n", (unsigned long long)writes);
	test_check(writes > 0 && reports[REPORT_MERGED] > 0 && reports[REPORT_DIVERGED] > 0,
		   "nothing was written, or nothing shared and unshared");
	guest_end(guest);
	writers_free(writers);
}

void guest_report(const struct guest *guest)
{
	const uint64_t *reports = guest->vm->reports;
	const struct ring_page *ring = guest->vm->base;

	fprintf(stderr,
		"merged %llu, zeroed %llu, diverged %llu, differs %llu, busy %llu, gone %llu, full %llu; "
		"kept private %llu, moves repaired %llu, hold p99 %llu us\n",
		(unsigned long long)reports[REPORT_MERGED], (unsigned long long)reports[REPORT_ZEROED],
		(unsigned long long)reports[REPORT_DIVERGED], (unsigned long long)reports[REPORT_DIFFERS],
		(unsigned long long)reports[REPORT_BUSY], (unsigned long long)reports[REPORT_GONE],
		(unsigned long long)reports[REPORT_FULL], (unsigned long long)ring->stats.kept_private_pages,
		(unsigned long long)ring->stats.repaired_moves, (unsigned long long)ring->stats.hold_p99_usec);
}
