/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The usual frame of a safety test: RAM in this process under the library, and a director that serves it. */
#ifndef PAGEFUSE_TESTS_SUPPORT_GUEST_H
#define PAGEFUSE_TESTS_SUPPORT_GUEST_H

#include "tests/support/director.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"
#include "tests/support/writers.h"

struct guest {
	struct director *director;
	struct director_vm *vm;
	char *memory;
	uint32_t pages;
	uint32_t page;        /* number of the first */
	bool works_on_blocks; /* guest_work() also gives 2 MiB pages back; they are what memory consists of */
};

/** Offers @pages pages at @memory to the library and waits until its worker has told the director of them. */
void guest_begin(struct guest *guest, void *memory, uint32_t pages);
/** Unshares and takes the RAM back, and checks that nothing of the store is left in use. */
void guest_end(struct guest *guest);

/** Address of page @index, counted from 0. */
static inline void *guest_at(const struct guest *guest, uint32_t index)
{
	return guest->memory + index * PAGE_BYTES;
}

/** Scans, so that the worker knows what diverged, and then shares [index, index+count). @return pages merged. */
uint32_t guest_share(const struct guest *guest, uint32_t index, uint32_t count);
/**
 * Has [index, index+count), all of one block, be a 2 MiB page again: see ORDER_WHOLE. @collapse: with RING_COLLAPSE.
 * @return what has become of it.
 */
enum ring_whole guest_whole(const struct guest *guest, uint32_t index, uint32_t count, uint32_t most, bool collapse);
/** One random step anywhere. */
void guest_churn(const struct guest *guest, uint64_t *random);

/**
 * Makes pages anonymous again, with their bytes: what the library does before the VMM registers a userfaultfd of its
 * own. Where pages may be pinned they only get copies of their own.
 */
void guest_make_plain(const struct guest *guest, uint32_t index, uint32_t count);

/** Discards by @advice as the preload does it: begin, the kernel's call, end. @return 0, or the kernel's -errno. */
int guest_discard(const struct guest *guest, uint32_t index, uint32_t count, int advice);
/** The same of a shared page while there is no mapping to be had, so that it can only be filled with zeros. */
void guest_discard_in_vain(const struct guest *guest, uint32_t index);

/** Shares and unshares at random until test_running() ends, often just where a writer is at work. */
void guest_work(const struct guest *guest, struct writers *writers);
/** After writers_stop(): checks that something was written and shared at all, says how much, ends and frees both. */
void guest_finish(struct guest *guest, struct writers *writers, uint64_t writes);

/** What was done in this test, for its last line: pages merged, zeroed, diverged, differing, busy, holds repaired. */
void guest_report(const struct guest *guest);

#endif
