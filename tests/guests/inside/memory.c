/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory of memory.h. */
#include "memory.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "sum.h"

#define PAGE_BYTES 4096u
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define MIB (1024u * 1024)
#define PARTS_MAX 16
#define DIVISOR_MAX 16u /* all sizes stay whole pages */
#define NAMED_MAX 8
#define GENERATIONS 4 /* contents that a moving page takes in turn */
#define MOVING_BYTES (4 * MIB)
#define MOVING_PAGES (MOVING_BYTES / PAGE_BYTES)
#define WRITE_BURST_PAGES 64
#define WRITE_PAUSE_NSEC (20 * 1000 * 1000)
#define BLOCK_PAGES 512u /* 2 MiB */
#define SCATTER_PAGES 19u

enum kind {
	KIND_SEEDED,
	KIND_ZERO,
	KIND_REPEATED,
	KIND_MOVING,
	KIND_SCATTERED,
};

struct part {
	const char *name;
	uint64_t *words;
	size_t bytes;
	uint64_t seed;
	enum kind kind;
	bool thinned; /* every second block of 2 MiB has been given back */
};

static struct part parts[PARTS_MAX];
static unsigned part_count;
static unsigned same_rounds;

/* Which content each moving page has now. The lock covers it and the moving pages, so that a check sees them agree. */
static pthread_mutex_t moving_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moving_change = PTHREAD_COND_INITIALIZER;
static uint8_t generation[MOVING_PAGES];
static bool writing = true;

/* Runs of 1, 2, 4 and 8 pages that both halves have, and a page after each that nobody has: AxBBxCCCCxDDDDDDDDx. */
static uint64_t scattered_word(const struct part *part, size_t page, size_t word)
{
	static const uint64_t both_seed = 4;
	unsigned place = page % SCATTER_PAGES;
	size_t half = part->bytes / PAGE_BYTES / 2;

	if (part->thinned && page / BLOCK_PAGES % 2 == 1)
		return 0;
	if (place == 1 || place == 4 || place == 9 || place == 18)
		return sum_word(part->seed, page) + word;
	return sum_word(both_seed, page % half) + word;
}

static uint64_t expected_word(const struct part *part, size_t page, size_t word)
{
	switch (part->kind) {
	case KIND_ZERO:
		return 0;
	case KIND_REPEATED:
		return sum_word(part->seed, word);
	case KIND_MOVING:
		return sum_word(part->seed + generation[page], page * PAGE_WORDS + word);
	case KIND_SCATTERED:
		return scattered_word(part, page, word);
	case KIND_SEEDED:
		break;
	}
	return sum_word(part->seed, page * PAGE_WORDS + word);
}

static void fill_page(const struct part *part, size_t page)
{
	uint64_t *words = part->words + page * PAGE_WORDS;

	for (size_t word = 0; word < PAGE_WORDS; word++)
		words[word] = expected_word(part, page, word);
}

static bool page_is_right(const struct part *part, size_t page)
{
	const uint64_t *words = part->words + page * PAGE_WORDS;

	for (size_t word = 0; word < PAGE_WORDS; word++) {
		if (words[word] != expected_word(part, page, word))
			return false;
	}
	return true;
}

static int add_part(const char *name, enum kind kind, size_t bytes, uint64_t seed)
{
	struct part *part = &parts[part_count];
	void *memory;

	if (part_count == PARTS_MAX)
		return -ENOSPC;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*part = (struct part){ .name = name, .words = memory, .bytes = bytes, .seed = seed, .kind = kind };
	for (size_t page = 0; page < bytes / PAGE_BYTES; page++)
		fill_page(part, page);
	part_count++;
	return 0;
}

/* Rewrites the moving pages in turn, a burst at a time, and leaves the CPU to others in between. */
static void *writer(void *data)
{
	const struct part *part = data;
	const struct timespec pause = { .tv_nsec = WRITE_PAUSE_NSEC };
	size_t page = 0;

	for (;;) {
		pthread_mutex_lock(&moving_lock);
		while (!writing)
			pthread_cond_wait(&moving_change, &moving_lock);
		for (unsigned i = 0; i < WRITE_BURST_PAGES; i++) {
			generation[page] = (uint8_t)((generation[page] + 1) % GENERATIONS);
			fill_page(part, page);
			page = (page + 1) % (part->bytes / PAGE_BYTES);
		}
		pthread_mutex_unlock(&moving_lock);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

int memory_start(uint64_t seed, unsigned divisor)
{
	static const uint64_t same_seed = 1, repeated_seed = 2, moving_seed = 3;
	pthread_t thread;
	int r;

	if (divisor == 0 || divisor > DIVISOR_MAX)
		return -EINVAL;
	r = add_part("same", KIND_SEEDED, 32 * MIB / divisor, same_seed);
	r = r < 0 ? r : add_part("own", KIND_SEEDED, 16 * MIB / divisor, sum_word(SUM_START, seed));
	r = r < 0 ? r : add_part("zeros", KIND_ZERO, 16 * MIB / divisor, 0);
	r = r < 0 ? r : add_part("repeated", KIND_REPEATED, 8 * MIB / divisor, repeated_seed);
	r = r < 0 ? r : add_part("moving", KIND_MOVING, MOVING_BYTES / divisor, moving_seed);
	if (r < 0)
		return r;
	return -pthread_create(&thread, NULL, writer, &parts[part_count - 1]);
}

int memory_add_same(size_t bytes)
{
	static const uint64_t later_seed = 1000;

	return add_part("later", KIND_SEEDED, bytes, later_seed + same_rounds++);
}

void memory_rewrite(void)
{
	static const uint64_t generation = 1000000; /* no two parts come to have the same seed */

	for (struct part *part = parts; part < parts + part_count; part++) {
		if (part->kind != KIND_SEEDED && part->kind != KIND_REPEATED)
			continue;
		part->seed += generation;
		for (size_t page = 0; page < part->bytes / PAGE_BYTES; page++)
			fill_page(part, page);
	}
}

int memory_add_scattered(uint64_t seed, size_t bytes)
{
	size_t unit = (size_t)2 * SCATTER_PAGES * PAGE_BYTES; /* halves of whole patterns */

	return add_part("scattered", KIND_SCATTERED, bytes / unit * unit, sum_word(SUM_START, seed));
}

int memory_thin_out(void)
{
	for (struct part *part = parts; part < parts + part_count; part++) {
		size_t block = (size_t)BLOCK_PAGES * PAGE_BYTES;

		if (part->kind != KIND_SCATTERED || part->thinned)
			continue;
		for (size_t at = block; at < part->bytes; at += 2 * block) {
			size_t length = part->bytes - at < block ? part->bytes - at : block;

			if (madvise((char *)part->words + at, length, MADV_DONTNEED) < 0)
				return -errno;
		}
		part->thinned = true;
	}
	return 0;
}

void memory_set_writing(bool on)
{
	pthread_mutex_lock(&moving_lock);
	writing = on;
	pthread_cond_broadcast(&moving_change);
	pthread_mutex_unlock(&moving_lock);
}

unsigned memory_check(uint64_t *ret_bytes)
{
	unsigned wrong = 0;

	*ret_bytes = 0;
	pthread_mutex_lock(&moving_lock);
	for (const struct part *part = parts; part < parts + part_count; part++) {
		for (size_t page = 0; page < part->bytes / PAGE_BYTES; page++) {
			if (page_is_right(part, page))
				continue;
			if (wrong++ < NAMED_MAX)
				fprintf(stderr, "guest: memory %s: page %zu is wrong, it begins with %016" PRIx64 "\n",
					part->name, page, part->words[page * PAGE_WORDS]);
		}
		*ret_bytes += part->bytes;
	}
	pthread_mutex_unlock(&moving_lock);
	return wrong;
}

uint64_t memory_sum(void)
{
	uint64_t sum = SUM_START;

	for (const struct part *part = parts; part < parts + part_count; part++) {
		if (part->kind != KIND_MOVING && part->kind != KIND_SCATTERED)
			sum = sum_bytes(sum, part->words, part->bytes);
	}
	return sum;
}
