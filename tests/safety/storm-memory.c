/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shadow: what every byte of a VMM's RAM has to be, and what was done last to each page. A page belongs to one
 * thread, which alone writes it and knows. A child of a fork has a copy of all of that, of which it uses the pages of
 * the thread that forked: nothing was under way there.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/safety/storm.h"
#include "tests/support/test.h"

#define NOTES 8

struct note {
	uint64_t msec;
	uint8_t kind;
	bool by_child;
	uint16_t from, length; /* bytes of this page */
};

struct log {
	uint32_t next;
	struct note notes[NOTES];
};

char *storm_ram;
static char *shadow;
static struct log *logs;

void storm_memory_begin(void)
{
	storm_ram = pages_map(STORM_PAGES, false);
	shadow = pages_map(STORM_PAGES, false);
	logs = mmap(NULL, STORM_PAGES * sizeof(*logs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	test_check(logs != MAP_FAILED, "no memory");
	for (size_t page = 0; page < STORM_PAGES; page++) {
		pages_fill(storm_ram + page * PAGE_BYTES, page % STORM_CONTENTS);
		pages_fill(shadow + page * PAGE_BYTES, page % STORM_CONTENTS);
	}
}

static void note(const struct storm_thread *t, enum storm_kind kind, size_t from, size_t length)
{
	struct log *log = &logs[from / PAGE_BYTES];

	log->notes[log->next++ % NOTES] = (struct note){ .msec = test_now_msec(),
							 .kind = (uint8_t)kind,
							 .by_child = t->is_child,
							 .from = (uint16_t)(from % PAGE_BYTES),
							 .length = (uint16_t)length };
}

void storm_wrote(struct storm_thread *t, enum storm_kind kind, size_t from, const void *bytes, size_t length)
{
	if (bytes == NULL)
		memset(shadow + from, 0, length);
	else
		memcpy(shadow + from, bytes, length);
	for (size_t at = from, end = from + length, next; at < end; at = next) {
		next = (at / PAGE_BYTES + 1) * PAGE_BYTES;
		next = next < end ? next : end;
		note(t, kind, at, next - at);
	}
}

const char *storm_expected(size_t from)
{
	return shadow + from;
}

static _Noreturn void tell(const struct storm_thread *t, size_t page, const char *when)
{
	const char *is = storm_ram + page * PAGE_BYTES, *expected = shadow + page * PAGE_BYTES;
	const struct log *log = &logs[page];
	char last[512] = "";
	size_t at = 0, wrong = 0, used = 0;
	char found = 0;

	for (size_t i = PAGE_BYTES; i-- > 0;) {
		if (is[i] == expected[i])
			continue;
		wrong++;
		at = i;
		found = is[i];
	}
	for (unsigned i = 1; i <= NOTES && i <= log->next; i++) {
		const struct note *n = &log->notes[(log->next - i) % NOTES];
		int r = snprintf(last + used, sizeof(last) - used, "; %s%s of %u+%u, %llu ms ago", storm_names[n->kind],
				 n->by_child ? " by the child" : "", n->from, n->length,
				 (unsigned long long)(test_now_msec() - n->msec));

		used = r > 0 && (size_t)r < sizeof(last) - used ? used + (size_t)r : sizeof(last) - 1;
	}
	test_damage("VMM %u (flags %x), %sthread %u, %s: page %zu has %zu wrong bytes; the first, %zu, is %02x and has "
		    "to be %02x%s; what was done to the page, last first%s",
		    storm_life->number, storm_life->flags, t->is_child ? "child of " : "", t->which, when, page, wrong,
		    at, (unsigned char)found, (unsigned char)expected[at], wrong == 0 ? " (and is, by now)" : "", last);
}

void storm_check(const struct storm_thread *t, size_t from, size_t length, const char *when)
{
	for (size_t page = from / PAGE_BYTES; page * PAGE_BYTES < from + length; page++)
		if (memcmp(storm_ram + page * PAGE_BYTES, shadow + page * PAGE_BYTES, PAGE_BYTES) != 0)
			tell(t, page, when);
}

void storm_check_group(const struct storm_thread *t, uint32_t group, const char *when)
{
	storm_check(t, group * STORM_GROUP_BYTES, STORM_GROUP_BYTES, when);
}

struct storm_range storm_choose(struct storm_thread *t, size_t unit)
{
	size_t units, first, count;

	if (unit < PAGE_BYTES && test_random(&t->random) % 2)
		unit = PAGE_BYTES; /* whole pages are equal to others' */
	units = STORM_GROUP_BYTES / unit;
	first = test_random(&t->random) % units;
	count = 1 + test_random(&t->random) % (units - first);
	if (test_random(&t->random) % 2 && count > PAGE_BYTES / unit)
		count = PAGE_BYTES / unit;
	return (struct storm_range){ t->group * STORM_GROUP_BYTES + first * unit, count * unit };
}

uint32_t storm_other_group(struct storm_thread *t)
{
	uint32_t own = (uint32_t)(test_random(&t->random) % (STORM_GROUPS / STORM_THREADS));

	return own * STORM_THREADS + t->which;
}

/* ---- the CPU ---- */

static void store_word(struct storm_thread *t, enum storm_kind kind, size_t at, uint64_t value)
{
	pages_store((uint64_t *)(storm_ram + at), value);
	storm_wrote(t, kind, at, &value, sizeof(value));
}

static size_t random_word(struct storm_thread *t, uint32_t group)
{
	return group * STORM_GROUP_BYTES +
	       test_random(&t->random) % (STORM_GROUP_BYTES / sizeof(uint64_t)) * sizeof(uint64_t);
}

void storm_store(struct storm_thread *t)
{
	size_t at = random_word(t, t->group);

	storm_check(t, at, 1, "before a store");
	store_word(t, STORM_STORE, at, test_random(&t->random));
	storm_check(t, at, 1, "after a store");
}

void storm_flicker(struct storm_thread *t)
{
	size_t at = random_word(t, t->group);
	uint64_t before;

	memcpy(&before, shadow + at, sizeof(before));
	for (unsigned i = 0; i < 4; i++) {
		store_word(t, STORM_FLICKER, at, i % 2 ? before : ~before);
		for (unsigned look = 0; look < 3; look++)
			storm_check(t, at, 1, "after a store that comes and goes");
	}
}

void storm_same(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);

	for (size_t at = range.from; at < range.from + range.length; at += PAGE_BYTES) {
		uint64_t same;

		memcpy(&same, shadow + at, sizeof(same));
		store_word(t, STORM_SAME, at, same);
	}
	storm_check(t, range.from, range.length, "after the same bytes were stored");
}

void storm_content(struct storm_thread *t)
{
	struct storm_range range = storm_choose(t, PAGE_BYTES);
	uint64_t first = test_random(&t->random);
	_Alignas(8) char page[PAGE_BYTES];

	for (size_t i = 0; i < range.length / PAGE_BYTES; i++) {
		pages_fill(page, (first + i) % STORM_CONTENTS);
		pages_fill(storm_ram + range.from + i * PAGE_BYTES, (first + i) % STORM_CONTENTS);
		storm_wrote(t, STORM_CONTENT, range.from + i * PAGE_BYTES, page, PAGE_BYTES);
	}
	storm_check(t, range.from, range.length, "after whole pages were stored");
}

void storm_between(struct storm_thread *t, struct storm_range range)
{
	for (unsigned i = 0; i < 3; i++) {
		size_t at = random_word(t, i == 2 ? storm_other_group(t) : t->group);

		if (at + sizeof(uint64_t) > range.from && at < range.from + range.length)
			continue;
		store_word(t, STORM_STORE, at, test_random(&t->random));
	}
}
