/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Notes of pages that are read into. Alone: which bits are set and taken; none is lost between threads that set them
 * and one that takes them; a region that goes while threads set its notes hurts nobody. With a worker: it tells of what
 * was noted and of nothing else, soon after it was woken by the first one; sleeps when all is quiet; leaves alone what
 * is still being read into; and tells nothing to a daemon that does not want it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "include/pagefuse.h"
#include "library/lock.h"
#include "library/memory.h"
#include "library/notes.h"
#include "library/region.h"
#include "library/transfers.h"
#include "tests/support/guest.h"

#define PAGES 5000u /* not a whole number of words */
#define THREADS 3u

/* ---- the bits ---- */

#define REGION 7u /* of no RAM */

static uint64_t take_all(unsigned region, enum note_kind kind, bool *ret_taken)
{
	uint64_t count = 0, word = 0, notes;

	while ((notes = notes_take(region, kind, &word)) != 0) {
		for (uint64_t left = notes; left != 0; left &= left - 1, count++)
			ret_taken[word * NOTES_WORD + (unsigned)__builtin_ctzll(left)] = true;
		word++;
	}
	return count;
}

static void test_bits(void)
{
	static const struct {
		uint64_t first, count;
	} ranges[] = { { 0, 1 }, { 63, 2 }, { 64, 64 }, { 100, 1000 }, { PAGES - 1, 1 }, { 0, PAGES } };
	static bool taken[PAGES + NOTES_WORD];

	test_check(notes_make(REGION, PAGES) == 0, "no memory");
	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		memset(taken, 0, sizeof(taken));
		notes_set(REGION, NOTE_READ, ranges[i].first, ranges[i].count, 0);
		notes_set(REGION, NOTE_READ, ranges[i].first, ranges[i].count, (uint8_t)(i + 1)); /* the same notes */
		test_check(take_all(REGION, NOTE_SUBMITTED, taken) == 0, "notes of another kind");
		test_check(take_all(REGION, NOTE_READ, taken) == ranges[i].count, "range %zu: wrong number", i);
		for (uint64_t p = 0; p < PAGES; p++)
			test_check(taken[p] == (p - ranges[i].first < ranges[i].count), "range %zu: page %llu", i,
				   (unsigned long long)p);
		test_check(take_all(REGION, NOTE_READ, taken) == 0, "range %zu is not gone", i);
		test_check(notes_image(REGION, ranges[i].first) == i + 1 &&
				   notes_image(REGION, ranges[i].first + ranges[i].count - 1) == i + 1,
			   "range %zu is of another image", i);
	}
	notes_set(REGION, NOTE_READ, 5, 5, 1);
	test_check(notes_image(REGION, 4) == 6 && notes_image(REGION, 10) == 6, "others are of another image");
	test_check(notes_make(REGION, 10 * PAGES) == 0, "no memory");
	test_check(notes_image(REGION, 5) == 0, "a new region has been read from something");
	test_check(take_all(REGION, NOTE_READ, taken) == 0, "a new region has notes");
}

/* ---- threads ---- */

static atomic_uint version[PAGES]; /* how often each page was noted */
static atomic_uint seen[PAGES];    /* what that was when its note was taken last */
static atomic_bool stop;

static void *set_notes(void *state)
{
	uint64_t random = *(uint64_t *)state;

	while (!stop) {
		uint64_t first = test_random(&random) % PAGES, count = 1 + test_random(&random) % 200;

		count = count < PAGES - first ? count : PAGES - first;
		for (uint64_t p = first; p < first + count; p++)
			atomic_fetch_add(&version[p], 1);
		notes_set(REGION, NOTE_READ, first, count, 0);
	}
	return NULL;
}

static uint64_t take_seen(void)
{
	uint64_t word = 0, notes, count = 0;

	for (; (notes = notes_take(REGION, NOTE_READ, &word)) != 0; word++) {
		for (; notes != 0; notes &= notes - 1, count++) {
			uint64_t page = word * NOTES_WORD + (unsigned)__builtin_ctzll(notes);

			seen[page] = version[page];
		}
	}
	return count;
}

/** What a page has been made before it is noted is seen by who takes the note. */
static void test_threads(void)
{
	pthread_t threads[THREADS];
	uint64_t seeds[THREADS], taken = 0;

	test_check(notes_make(REGION, PAGES) == 0, "no memory");
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = test_seed(i + 1);
		test_check(pthread_create(&threads[i], NULL, set_notes, &seeds[i]) == 0, "no thread");
	}
	for (unsigned round = 0; round < 3000 || taken < 100000; round++)
		taken += take_seen();
	stop = true;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	take_seen();
	for (uint64_t p = 0; p < PAGES; p++)
		test_check(seen[p] == version[p], "page %llu was noted, and is not taken", (unsigned long long)p);
	test_check(take_seen() == 0, "there are notes left");
}

/* ---- with a worker ---- */

static bool no_longer_there(const struct director_vm *vm, void *region)
{
	return vm->regions[*(unsigned *)region].gone;
}

/** Regions come and go while threads note reads into where they are. */
static void *note_reads(void *memory)
{
	while (!stop)
		memory_note_read(memory, PAGES * PAGE_BYTES, NOTE_READ, -1);
	return NULL;
}

static void test_removal(void)
{
	char *memory = pages_map(PAGES, false);
	pthread_t thread;
	struct guest g;

	guest_begin(&g, memory, PAGES);
	stop = false;
	test_check(pthread_create(&thread, NULL, note_reads, memory) == 0, "no thread");
	for (unsigned i = 0; i < 40; i++) {
		uint32_t pages = i % 2 ? PAGES / 3 : PAGES;
		unsigned last = g.vm->region_count - 1;

		test_check(pagefuse_remove_ram(memory, g.pages * PAGE_BYTES) == 0, "removing");
		test_check(director_wait_until(g.vm, no_longer_there, &last) == 0, "the worker has hung up");
		test_check(pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, pages * PAGE_BYTES) == 0, "adding");
		g.pages = pages;
	}
	stop = true;
	pthread_join(thread, NULL);
	guest_end(&g);
	munmap(memory, PAGES * PAGE_BYTES);
}

static void want_notes(const struct guest *g, bool wanted)
{
	struct ring_record order = { .op = ORDER_NOTES, .count = 1, .page = 1 };

	order.value = wanted;
	director_post(g->vm, &order);
	director_audit(g->vm, g->page, 1); /* it is carried out by then */
}

static bool has_told(const struct director_vm *vm, void *pages)
{
	return vm->noted >= *(uint64_t *)pages;
}

static void expect_told(const struct guest *g, uint64_t pages)
{
	test_check(director_wait_until(g->vm, has_told, &pages) == 0, "the worker has hung up");
	director_audit(g->vm, g->page, 1);
	test_check(g->vm->noted == pages, "%llu pages are told, not %llu", (unsigned long long)g->vm->noted,
		   (unsigned long long)pages);
	g->vm->noted = 0;
}

/** Lets time pass that the worker needs to find that all is quiet. */
static bool is_quiet(const struct director_vm *vm, void *context)
{
	uint64_t *until = context;

	(void)vm;
	return test_now_msec() >= *until;
}

static void be_quiet(const struct guest *g, uint64_t msec)
{
	uint64_t until = test_now_msec() + msec;

	while (test_now_msec() < until)
		director_audit(g->vm, g->page, 1);
	test_check(director_wait_until(g->vm, is_quiet, &until) == 0, "the worker has hung up");
	test_check(g->vm->noted == 0, "%llu pages are told that were not noted", (unsigned long long)g->vm->noted);
}

/**
 * Entry of the region of @memory. It need not be the first one: a region that is taken back before the worker has told
 * of it keeps its entry until the worker comes by, which nobody waits for.
 */
static unsigned number_of(const void *memory)
{
	unsigned i = 0;

	memory_lock();
	while (i < REGIONS_MAX && (region_at(i) == NULL || region_at(i)->leaving ||
				   region_at(i)->start != (uint64_t)memory))
		i++;
	memory_unlock();
	test_check(i < REGIONS_MAX, "no region is there");
	return i;
}

static void test_worker(void)
{
	char *memory = pages_map(PAGES, false);
	uint64_t transfer, word, began, one = 1;
	unsigned number;
	struct guest g;

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i % 10 == 9 ? 0 : i + 1);
	guest_begin(&g, memory, PAGES);
	number = number_of(memory);
	memory_note_read(memory, 10 * PAGE_BYTES, NOTE_READ, -1); /* before it is asked for */
	be_quiet(&g, 100);
	want_notes(&g, true);
	expect_told(&g, 10);
	memory_note_read(memory + 100, 1, NOTE_READ, -1);
	memory_note_read(memory + 200 * PAGE_BYTES - 1, 2, NOTE_READ, -1);
	memory_note_read(memory - PAGE_BYTES, PAGE_BYTES, NOTE_READ, -1);
	memory_note_read(memory + PAGES * PAGE_BYTES, PAGE_BYTES, NOTE_READ, -1);
	memory_note_read(memory + (PAGES - 3) * PAGE_BYTES, SIZE_MAX, NOTE_READ, -1);
	memory_note_read(memory, 0, NOTE_READ, -1);
	expect_told(&g, 1 + 2 + 3);
	be_quiet(&g, 2000);
	pagefuse_hint(memory, PAGES * PAGE_BYTES); /* more than is looked at in one go; wakes it */
	expect_told(&g, PAGES);
	memory_note_read(memory, 20 * PAGE_BYTES, NOTE_SUBMITTED, -1);
	expect_told(&g, 2 * 20); /* twice, as the read may not have been over */
	be_quiet(&g, 1200);

	began = test_now_msec(); /* a transfer counts for a second */
	transfer = transfers_begin(memory, 3 * PAGE_BYTES);
	memory_note_read(memory, 4 * PAGE_BYTES, NOTE_READ, -1);
	while (!has_told(g.vm, &one) || test_now_msec() - began < 200)
		director_audit(g.vm, g.page, 1);
	test_check(g.vm->noted == 1 || test_now_msec() - began >= 1000, "what is being read into is told");
	transfers_end(transfer);
	expect_told(&g, 4);

	/* One that cannot be held is told again, if that is why it was ordered. */
	memory_note_read(memory, PAGE_BYTES, NOTE_READ, -1);
	expect_told(&g, 1);
	for (unsigned i = 0; i < 2; i++) { /* the second time it was not */
		began = test_now_msec();
		transfer = transfers_begin(memory, 3 * PAGE_BYTES);
		director_share(g.vm, g.page, 1);
		transfers_end(transfer);
		if (g.vm->pages[g.page].answer != REPORT_BUSY && test_now_msec() - began >= 1000)
			break; /* so long no transfer counts */
		test_check(g.vm->pages[g.page].answer == REPORT_BUSY, "what is being read into is answered %u",
			   g.vm->pages[g.page].answer);
		if (i == 0)
			expect_told(&g, 1);
		else
			be_quiet(&g, 1500);
		memory_lock();
		notes_clear(number, NOTE_TOLD, 0, 1);
		memory_unlock();
	}

	want_notes(&g, false);
	memory_note_read(memory, 20 * PAGE_BYTES, NOTE_READ, -1);
	memory_lock();
	word = 0;
	test_check(notes_take(number, NOTE_READ, &word) == 0, "a note is taken that nobody wants");
	memory_unlock();
	be_quiet(&g, 100);
	guest_end(&g);
	munmap(memory, PAGES * PAGE_BYTES);
}

/** The daemon does not know of a region yet that is read into, nor ever of pages behind the end of one. */
static void test_unknown(void)
{
	char *memory = pages_map(PAGES, false), *more = pages_map(PAGES, false);
	uint64_t until, pages = PAGES;
	struct region *region;
	struct guest g;
	unsigned number;
	int r;

	for (uint32_t i = 0; i < PAGES; i++) {
		pages_fill(memory + i * PAGE_BYTES, i + 1);
		pages_fill(more + i * PAGE_BYTES, PAGES + i + 1);
	}
	guest_begin(&g, memory, PAGES);
	want_notes(&g, true);
	number = number_of(memory);
	notes_set(number, NOTE_READ, PAGES, 1, 0); /* by a thread that knew a larger one in its place */
	notes_set(number, NOTE_READ, PAGES - 2, 1, 0);
	notes_made();
	expect_told(&g, 1);
	be_quiet(&g, 100);
	memory_lock();
	r = region_add((uint64_t)more, PAGES, &region); /* without a word to the worker */
	memory_unlock();
	test_check(r == 0, "adding: %s", strerror(-r));
	memory_note_read(more, PAGES * PAGE_BYTES, NOTE_READ, -1);
	until = test_now_msec() + 200;
	test_check(director_wait_until(g.vm, is_quiet, &until) == 0, "the worker has hung up");
	expect_told(&g, pages); /* which waits until it is announced */
	test_check(g.vm->region_count == 2, "%u regions are told", g.vm->region_count);
	test_check(pagefuse_remove_ram(more, PAGES * PAGE_BYTES) == 0, "removing");
	guest_end(&g);
	munmap(memory, PAGES * PAGE_BYTES);
	munmap(more, PAGES * PAGE_BYTES);
}

/** Nanoseconds a page, of notes of @pages each, over all of the memory: for people to read. */
static double cost(const char *memory, unsigned pages)
{
	struct timespec began, ended;

	clock_gettime(CLOCK_MONOTONIC, &began);
	for (unsigned i = 0; i + pages <= PAGES; i += pages)
		memory_note_read(memory + i * PAGE_BYTES, pages * PAGE_BYTES, NOTE_READ, -1);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	return (double)((ended.tv_sec - began.tv_sec) * 1000000000 + ended.tv_nsec - began.tv_nsec) / PAGES;
}

/** Nobody takes the notes, as no daemon wants them. */
static void tell_cost(void)
{
	static const unsigned sizes[] = { 1, 4, 32 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		char *memory = pages_map(PAGES, false);
		double first, again;
		struct guest g;

		guest_begin(&g, memory, PAGES);
		first = cost(memory, sizes[i]);
		again = cost(memory, sizes[i]);
		fprintf(stderr, "reads of %2u pages: a note takes %.1f ns a page, and %.1f where it is set already\n",
			sizes[i], first, again);
		guest_end(&g);
		munmap(memory, PAGES * PAGE_BYTES);
	}
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_bits();
	test_threads();
	test_removal();
	test_worker();
	test_unknown();
	tell_cost();
	return 0;
}
