/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/writers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/memory.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define WINDOW_PAGES 16 /* that a thread works on */
#define WINDOW_STEPS 2048

struct writer {
	struct writers *writers;
	unsigned which;
	pthread_t thread;
	uint64_t random;
	void *context;
	atomic_ullong writes;
	atomic_size_t window;
	unsigned long long seen_writes; /* by writers_check_awake() */
	uint64_t seen_msec;
};

struct writers {
	struct writers_plan plan;
	uint64_t *memory, *shadow;
	atomic_bool stop;
	struct writer writer[WRITERS_MAX];
};

static void store(void *context, void *to, const void *from, size_t length)
{
	(void)context;
	for (size_t i = 0; i < length / sizeof(uint64_t); i++)
		pages_store((uint64_t *)to + i, ((const uint64_t *)from)[i]);
}

const struct writer_method writer_stores = { .name = "stores", .bytes = sizeof(uint64_t), .write = store };

static void check_word(const struct writers *w, size_t word, const char *when)
{
	uint64_t is = pages_load(&w->memory[word]);

	if (is != w->shadow[word])
		test_damage("page %zu word %zu reads %016llx, was written as %016llx (%s, %s)", word / PAGE_WORDS,
			    word % PAGE_WORDS, (unsigned long long)is, (unsigned long long)w->shadow[word],
			    w->plan.method->name, when);
}

static void check_page(const struct writers *w, size_t page, const char *when)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		check_word(w, page * PAGE_WORDS + i, when);
}

/** Writes the shadow's bytes, or new ones, at a random place of @page. */
static void write_somewhere(struct writer *writer, size_t page, bool change)
{
	const struct writers *w = writer->writers;
	size_t words = w->plan.method->bytes / sizeof(uint64_t);
	size_t first = page * PAGE_WORDS + test_random(&writer->random) % (PAGE_WORDS / words) * words;

	for (size_t i = first; i < first + words; i++) {
		check_word(w, i, "before a write");
		if (change)
			w->shadow[i] = w->shadow[i] * 5 + test_random(&writer->random);
	}
	w->plan.method->write(writer->context, &w->memory[first], &w->shadow[first], words * sizeof(uint64_t));
	for (size_t i = first; i < first + words; i++)
		check_word(w, i, "after a write");
	atomic_fetch_add_explicit(&writer->writes, 1, memory_order_relaxed);
}

/** Two writes: something else, and soon the old bytes again. */
static void write_and_restore(struct writer *writer, size_t page)
{
	const struct writers *w = writer->writers;
	size_t word = page * PAGE_WORDS + test_random(&writer->random) % PAGE_WORDS;
	uint64_t before = w->shadow[word];

	for (unsigned i = 0; i < 2; i++) {
		check_word(w, word, "before a write");
		w->shadow[word] = i == 0 ? ~before : before;
		store(NULL, &w->memory[word], &w->shadow[word], sizeof(uint64_t));
		for (unsigned look = 0; look < 8; look++)
			check_word(w, word, "after a write");
	}
	atomic_fetch_add_explicit(&writer->writes, 2, memory_order_relaxed);
}

static void discard(struct writer *writer, size_t page)
{
	const struct writers *w = writer->writers;
	void *address = &w->memory[page * PAGE_WORDS];
	long r = memory_change_begin(CHANGE_DISCARD, address, PAGE_BYTES, MADV_DONTNEED);

	test_check(r >= 0, "discard: %s", strerror((int)-r));
	if (r == 0) {
		r = syscall(SYS_madvise, address, PAGE_BYTES, MADV_DONTNEED);
		memory_change_end(CHANGE_DISCARD, address, PAGE_BYTES, MADV_DONTNEED, r == 0);
		test_check(r == 0, "madvise(MADV_DONTNEED): %s", strerror(errno));
	}
	memset(&w->shadow[page * PAGE_WORDS], 0, PAGE_BYTES);
	check_page(writer->writers, page, "after a discard");
}

static void protect(struct writer *writer, size_t page, int protection)
{
	void *address = &writer->writers->memory[page * PAGE_WORDS];
	long r = memory_change_begin(CHANGE_PROTECT, address, PAGE_BYTES, protection);

	test_check(r >= 0, "mprotect: %s", strerror((int)-r));
	r = syscall(SYS_mprotect, address, PAGE_BYTES, protection);
	memory_change_end(CHANGE_PROTECT, address, PAGE_BYTES, protection, r == 0);
	test_check(r == 0, "mprotect: %s", strerror(errno));
}

static void disturb(struct writer *writer, size_t page)
{
	const struct writers_plan *plan = &writer->writers->plan;

	if (plan->discards && test_random(&writer->random) % 64 == 0)
		discard(writer, page);
	if (plan->reads && test_random(&writer->random) % 64 == 0)
		memory_before_read(&writer->writers->memory[page * PAGE_WORDS],
				   PAGE_BYTES * (1 + test_random(&writer->random) % 8));
	if (plan->protects && test_random(&writer->random) % 64 == 0) {
		protect(writer, page, PROT_READ);
		check_page(writer->writers, page, "read-only");
		protect(writer, page, PROT_READ | PROT_WRITE);
	}
}

static void step(struct writer *writer, size_t window)
{
	const struct writers *w = writer->writers;
	size_t near = window + test_random(&writer->random) % WINDOW_PAGES;
	size_t page = near - near % w->plan.threads + writer->which; /* a page of one's own */

	if (page >= w->plan.pages)
		return;
	switch (test_random(&writer->random) % 16) {
	case 0:
		check_page(w, page, "in passing");
		break;
	case 1:
		(void)pages_load(&w->memory[near * PAGE_WORDS]);
		break;
	case 2:
		disturb(writer, page);
		break;
	default:
		if (w->plan.flickers)
			write_and_restore(writer, page);
		else
			write_somewhere(writer, page, !w->plan.same_bytes);
	}
}

static void *run(void *argument)
{
	struct writer *writer = argument;
	struct writers *w = writer->writers;
	size_t places = w->plan.pages > WINDOW_PAGES ? w->plan.pages - WINDOW_PAGES : 1;

	if (w->plan.method->begin != NULL)
		writer->context = w->plan.method->begin(writer->which);
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		size_t window = test_random(&writer->random) % places;
		/* Slow methods move on after fewer writes. */
		unsigned steps = w->plan.method == &writer_stores ? WINDOW_STEPS : WINDOW_STEPS / 16;

		atomic_store_explicit(&writer->window, window, memory_order_relaxed);
		for (unsigned i = 0; i < steps && !atomic_load_explicit(&w->stop, memory_order_relaxed); i++)
			step(writer, window);
	}
	if (w->plan.method->end != NULL)
		w->plan.method->end(writer->context);
	return NULL;
}

struct writers *writers_new(const struct writers_plan *plan)
{
	struct writers *w = calloc(1, sizeof(*w));

	test_check(w != NULL && plan->threads > 0 && plan->threads <= WRITERS_MAX, "writers: bad plan");
	w->plan = *plan;
	if (w->plan.method == NULL)
		w->plan.method = &writer_stores;
	w->memory = plan->memory;
	w->shadow = pages_map(plan->pages, false);
	for (size_t page = 0; page < plan->pages; page++) {
		uint64_t content = page % 8 == 7 ? 0 : test_seed(page);

		pages_fill(&w->shadow[page * PAGE_WORDS], content);
		pages_fill(&w->memory[page * PAGE_WORDS], content);
	}
	for (unsigned i = 0; i < plan->threads; i++) {
		w->writer[i].writers = w;
		w->writer[i].which = i;
		w->writer[i].random = test_seed(UINT32_MAX + i);
	}
	return w;
}

void writers_start(struct writers *w)
{
	for (unsigned i = 0; i < w->plan.threads; i++) {
		int r = pthread_create(&w->writer[i].thread, NULL, run, &w->writer[i]);

		test_check(r == 0, "pthread_create: %s", strerror(r));
	}
}

void writers_check_awake(struct writers *w)
{
	uint64_t now = test_patient_msec();

	for (unsigned i = 0; i < w->plan.threads; i++) {
		struct writer *writer = &w->writer[i];
		unsigned long long writes = atomic_load_explicit(&writer->writes, memory_order_relaxed);

		if (writes != writer->seen_writes || writer->seen_msec == 0) {
			writer->seen_writes = writes;
			writer->seen_msec = now;
		} else if (now - writer->seen_msec > (uint64_t)TEST_DEADLINE_SECONDS * 1000) {
			test_damage("writer %u sleeps after %llu writes", i, writes);
		}
	}
}

uint64_t writers_stop(struct writers *w)
{
	uint64_t writes = 0;

	atomic_store(&w->stop, true);
	for (unsigned i = 0; i < w->plan.threads; i++) {
		if (!test_join(w->writer[i].thread))
			test_damage("writer %u sleeps", i);
		writes += w->writer[i].writes;
	}
	for (size_t page = 0; page < w->plan.pages; page++)
		check_page(w, page, "at the end");
	atomic_store(&w->stop, false);
	return writes;
}

void writers_free(struct writers *w)
{
	if (w == NULL)
		return;
	munmap(w->shadow, w->plan.pages * PAGE_BYTES);
	free(w);
}

size_t writers_hot_page(const struct writers *w, uint64_t *random)
{
	const struct writer *writer = &w->writer[test_random(random) % w->plan.threads];
	size_t page = atomic_load_explicit(&writer->window, memory_order_relaxed) + test_random(random) % WINDOW_PAGES;

	return page < w->plan.pages ? page : w->plan.pages - 1;
}
