/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks by samples: what has not changed is told as it was without being read; what has been filled anew is told at
 * once, and what was changed in one word within LOOKS_PER_READ_MOST looks. What was ordered, or asked for without
 * samples, is read.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "common/hash.h"
#include "library/looks.h"
#include "library/orders.h"
#include "tests/support/guest.h"

#define PAGES 4096u
#define CHANGED 64u /* pages, all from the first one on */

static struct guest guest;
static uint32_t absent; /* pages that are not there */
static uint64_t seed;

static void look(bool samples)
{
	uint32_t present;

	guest.vm->samples = samples;
	present = director_scan(guest.vm, guest.page, PAGES);
	test_check(present == PAGES - absent, "%u pages are told to be present, not %u", present, PAGES - absent);
}

static const struct director_page *told(uint32_t index)
{
	return &guest.vm->pages[guest.page + index];
}

static bool is_told_rightly(uint32_t index)
{
	const void *page = guest_at(&guest, index);

	if (page_is_zero(page))
		return told(index)->was_zero && !told(index)->was_hashed;
	return told(index)->was_hashed && !told(index)->was_zero && told(index)->hash == page_hash(page, seed);
}

/** Of pages [first, end), how many are told as they are. */
static uint32_t rightly_told(uint32_t first, uint32_t end)
{
	uint32_t count = 0;

	for (uint32_t i = first; i < end; i++)
		count += is_told_rightly(i);
	return count;
}

static void check_told(uint32_t first, uint32_t end, const char *when)
{
	test_check(rightly_told(first, end) == end - first, "of %u pages %u are told as they are, %s", end - first,
		   rightly_told(first, end), when);
}

/** @return pages that were read for that. */
static uint64_t look_by_samples(void)
{
	uint64_t before = orders_hashed_pages();

	look(true);
	return orders_hashed_pages() - before;
}

/** Pages have their turns to be read, and not all at once. */
static void check_turns(unsigned looks, unsigned looks_per_read)
{
	for (unsigned i = 0; i < looks; i++) {
		uint64_t read = look_by_samples();

		check_told(0, PAGES, "unchanged");
		test_check(read >= PAGES / looks_per_read / 2 && read <= PAGES / looks_per_read * 2,
			   "of %u pages that have not changed %llu were read", PAGES, (unsigned long long)read);
	}
}

static void test_unchanged(void)
{
	look(false);
	check_told(0, PAGES, "at first");
	for (unsigned i = 0; i < 2; i++) {
		test_check(look_by_samples() == PAGES, "pages are not read that were read %u times", i);
		check_told(0, PAGES, "when they are hardly known");
	}
	check_turns(LOOKS_PER_READ, LOOKS_PER_READ);
	check_turns(2 * LOOKS_PER_READ_MOST, LOOKS_PER_READ_MOST);
	look(false);
	check_told(0, PAGES, "by a look without samples");
	check_turns(2 * LOOKS_PER_READ_MOST, LOOKS_PER_READ_MOST);
}

static void fill(uint32_t first, uint32_t end, uint64_t content)
{
	for (uint32_t i = first; i < end; i++)
		pages_fill(guest_at(&guest, i), content == 0 ? 0 : content + i);
}

static void test_filled_anew(void)
{
	uint64_t contents[] = { 900000, 0, 800000, 700000 };

	for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
		fill(0, CHANGED, contents[i]);
		look_by_samples();
		check_told(0, PAGES, "filled anew");
	}
	test_check(madvise(guest.memory, CHANGED * PAGE_BYTES, MADV_DONTNEED) == 0, "MADV_DONTNEED");
	fill(0, CHANGED, 600000);
	look_by_samples();
	check_told(0, PAGES, "dropped and filled anew");
}

static void drop(uint32_t first, uint32_t count)
{
	test_check(madvise(guest_at(&guest, first), count * PAGE_BYTES, MADV_DONTNEED) == 0, "MADV_DONTNEED");
	absent += count;
}

/** A look in which much is to be read does it in several goes, whatever their number. */
static void test_absent(void)
{
	drop(0, 2);
	drop(PAGES / 2, 1);
	drop(PAGES - 130, 70);
	for (uint64_t content = 1; content < 40; content++) {
		fill(2, 100 + (uint32_t)content, content * 1000000);
		fill(PAGES / 2 + 1, PAGES / 2 + 333, content * 1000000);
		look_by_samples();
		check_told(2, PAGES / 2, "filled anew beside what is not there");
	}
	fill(0, 2, 500000);
	fill(PAGES / 2, PAGES / 2 + 1, 500000);
	fill(PAGES - 130, PAGES - 60, 500000);
	absent = 0;
	look_by_samples();
	look_by_samples();
	check_told(0, PAGES, "when all is there");
}

/** All zeros but for some words of one line, as are many pages of a guest's kernel. */
static void fill_sparsely(uint64_t content)
{
	for (uint32_t i = 0; i < CHANGED; i++) {
		uint64_t *words = guest_at(&guest, i);

		pages_fill(words, 0);
		pages_store(&words[i % 64 * 8 + i % 8], content);
	}
}

static void test_sparse(void)
{
	fill_sparsely(1);
	for (unsigned i = 0; i < 2 * LOOKS_PER_READ; i++)
		look_by_samples();
	for (uint64_t content = 2; content < 5; content++) {
		fill_sparsely(content % 4); /* the third time full of zeros */
		look_by_samples();
		check_told(0, PAGES, "filled anew with a few words");
		look_by_samples();
		look_by_samples();
	}
	fill(0, CHANGED, 500000);
	look_by_samples();
	look_by_samples();
}

static void change_words(void)
{
	for (uint32_t i = 0; i < CHANGED; i++) {
		uint64_t *word = (uint64_t *)guest_at(&guest, i) + (i * 71 + 5) % (PAGE_BYTES / 8);

		pages_store(word, pages_load(word) + 1);
	}
}

static void test_one_word(void)
{
	uint32_t seen = 0;

	change_words();
	for (unsigned looks = 1; seen < CHANGED; looks++) {
		test_check(looks <= LOOKS_PER_READ_MOST, "after %u looks %u of %u changes are seen", looks - 1, seen,
			   CHANGED);
		look_by_samples();
		seen = rightly_told(0, CHANGED);
		check_told(CHANGED, PAGES, "beside changed ones");
		printf("after %u looks %u of %u changed words are seen\n", looks, seen, CHANGED);
	}
	change_words();
	look(false);
	check_told(0, PAGES, "by a look without samples");
	look_by_samples();
	check_told(0, PAGES, "by one with samples after that");
}

/** What changes all the time is read all the time, once it was seen to. */
static void test_volatile(void)
{
	for (unsigned looks = 1; looks <= 2 * LOOKS_PER_READ_MOST; looks++) {
		change_words();
		look_by_samples();
		if (looks > LOOKS_PER_READ_MOST)
			check_told(0, PAGES, "changing all the time");
	}
	look_by_samples();
}

/** What the daemon took for its content turns out to be another. */
static void test_ordered(void)
{
	uint32_t slot = director_take_slots(guest.director, CHANGED);

	for (uint32_t i = 0; i < CHANGED; i++)
		memcpy(director_slot(guest.director, slot + i), guest_at(&guest, i), PAGE_BYTES);
	look_by_samples();
	change_words();
	test_check(director_merge(guest.vm, guest.page, CHANGED, slot) == 0, "pages are merged with other bytes");
	test_check(director_answers(guest.vm, guest.page, CHANGED, REPORT_DIFFERS) == CHANGED, "one does not differ");
	look_by_samples();
	check_told(0, PAGES, "after a merge in vain");
	change_words();
	director_fetch(guest.vm, guest.page, CHANGED, slot);
	look_by_samples();
	check_told(0, PAGES, "after they were fetched");
}

/** Shared, and written since by one word. */
static void test_diverged(void)
{
	look_by_samples();
	test_check(director_share(guest.vm, guest.page, CHANGED) == CHANGED, "not all is shared");
	change_words();
	look_by_samples();
	check_told(0, PAGES, "when they have diverged");
	test_check(director_share(guest.vm, guest.page, CHANGED) == CHANGED, "not all is shared again");
	director_unshare(guest.vm, guest.page, CHANGED);
	change_words();
	look_by_samples();
	check_told(0, PAGES, "when they are plain again, and changed since");
}

int main(int argc, char **argv)
{
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i % 32 == 31 ? 0 : 1000 + i);
	guest_begin(&guest, memory, PAGES);
	seed = test_seed(0); /* as the director says */
	test_unchanged();
	test_filled_anew();
	test_absent();
	test_sparse();
	test_one_word();
	test_volatile();
	test_ordered();
	test_diverged();
	guest_report(&guest);
	guest_end(&guest);
	return 0;
}
