/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM on the C API that measures what its writes feel while pagefuse works on its memory.
 *
 *   writer NAME twins|unique MIB [absent]
 *
 * twins: every page exists twice, so half of the memory can be saved; unique: nothing can. Prints "ready THREAD" once a
 * daemon serves it, THREAD being the library's thread, and obeys lines on standard input. absent: the library is told
 * nothing of the memory, as where there is no pagefuse, and THREAD is 0.
 *
 *   write SECONDS   one word of a random page every WRITE_PERIOD_NSEC, always the value that is there already: each
 *                   write to a shared page makes the kernel copy it, and the page can be shared again. Prints
 *                   writes=N p50_nsec=N p99_nsec=N p999_nsec=N max_nsec=N stalled=N stalled_p99_nsec=N, where the
 *                   stalled are those that took longer than STALL_NSEC: they met a hold, a copy, or another process
 *   fill PERMILLE   so many of the pages, chosen at random, get a new content each. Prints filled=N
 *   walk SECONDS    read a random word, and another one that its value leads to, and so on: each read misses the caches
 *                   and needs a translation. Prints steps=N step_nsec=N step_cpu_nsec=N
 *   check           every word is what it should be: prints wrong=N
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pagefuse.h>

#define PAGE_BYTES 4096u
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define HUGE_BYTES (2u << 20)
#define WRITE_PERIOD_NSEC 20000
#define STALL_NSEC 10000
#define CONNECT_SECONDS 20
#define WALK_STEPS 100000u /* between looks at the clock */

static uint64_t *memory;
static size_t pages;
static size_t contents;    /* different pages */
static uint64_t *fillings; /* of each page: how often it has been filled since the start */

static uint64_t clock_nsec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t now_nsec(void)
{
	return clock_nsec(CLOCK_MONOTONIC);
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t word_of(size_t page, size_t word)
{
	uint64_t content = page % contents + 1 + fillings[page] * pages;

	return (content * UINT64_C(0x9e3779b97f4a7c15)) ^ (word * UINT64_C(0xd6e8feb86659fd93));
}

static void fill_page(size_t page)
{
	for (size_t word = 0; word < PAGE_WORDS; word++)
		memory[page * PAGE_WORDS + word] = word_of(page, word);
}

static int make_memory(size_t bytes)
{
	char *room = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return -errno;
	memory = (uint64_t *)(((uintptr_t)room + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1));
	madvise(memory, bytes, MADV_HUGEPAGE); /* as QEMU does */
	fillings = calloc(pages, sizeof(*fillings));
	if (fillings == NULL)
		return -ENOMEM;
	for (size_t page = 0; page < pages; page++)
		fill_page(page);
	return 0;
}

static void fill(unsigned permille)
{
	static uint64_t state = 88172645463325252;
	size_t count = pages * permille / 1000;

	for (size_t i = 0; i < count; i++) {
		size_t page = random_next(&state) % pages;

		fillings[page]++;
		fill_page(page);
	}
	printf("filled=%zu\n", count);
}

static void walk(unsigned seconds)
{
	uint64_t begun = now_nsec(), end = begun + (uint64_t)seconds * 1000000000, now = begun, steps = 0;
	uint64_t state = 88172645463325252, cpu = clock_nsec(CLOCK_THREAD_CPUTIME_ID);

	while (now < end) {
		for (unsigned i = 0; i < WALK_STEPS; i++) {
			state += *(volatile uint64_t *)&memory[state % (pages * PAGE_WORDS)];
			random_next(&state);
		}
		steps += WALK_STEPS;
		now = now_nsec();
	}
	cpu = clock_nsec(CLOCK_THREAD_CPUTIME_ID) - cpu;
	if (steps > 0)
		printf("steps=%" PRIu64 " step_nsec=%.1f step_cpu_nsec=%.1f\n", steps,
		       (double)(now - begun) / (double)steps, (double)cpu / (double)steps);
}

static int compare_nsec(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_writes(uint32_t *took, size_t count)
{
	size_t fast = 0, stalled;

	qsort(took, count, sizeof(*took), compare_nsec);
	while (fast < count && took[fast] <= STALL_NSEC)
		fast++;
	stalled = count - fast;
	printf("writes=%zu p50_nsec=%u p99_nsec=%u p999_nsec=%u max_nsec=%u stalled=%zu stalled_p99_nsec=%u\n", count,
	       took[count / 2], took[count * 99 / 100], took[count * 999 / 1000], took[count - 1], stalled,
	       stalled ? took[fast + stalled * 99 / 100] : 0);
}

/* Waits by spinning: a thread that sleeps between its writes would measure the scheduler. */
static void write_for(unsigned seconds)
{
	size_t room = (size_t)seconds * (1000000000 / WRITE_PERIOD_NSEC) + 1, count = 0;
	uint32_t *took = calloc(room, sizeof(*took));
	uint64_t state = 88172645463325252, end = now_nsec() + (uint64_t)seconds * 1000000000, next = now_nsec();

	while (took && count < room && next < end) {
		size_t page = random_next(&state) % pages, word = random_next(&state) % PAGE_WORDS;
		uint64_t value = word_of(page, word), before, nsec;

		while ((before = now_nsec()) < next)
			;
		*(volatile uint64_t *)&memory[page * PAGE_WORDS + word] = value;
		nsec = now_nsec() - before;
		took[count++] = nsec > UINT32_MAX ? UINT32_MAX : (uint32_t)nsec;
		next = before + nsec + WRITE_PERIOD_NSEC;
	}
	if (count > 0)
		print_writes(took, count);
	free(took);
}

static void check(void)
{
	size_t wrong = 0;

	for (size_t page = 0; page < pages; page++) {
		for (size_t word = 0; word < PAGE_WORDS; word++)
			wrong += memory[page * PAGE_WORDS + word] != word_of(page, word);
	}
	printf("wrong=%zu\n", wrong);
}

/* The thread that the library started: its name is pagefuse. */
static long worker_thread(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	long found = 0;

	while (tasks && found == 0 && (entry = readdir(tasks)) != NULL) {
		char path[64], name[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(name, sizeof(name), file) && strcmp(name, "pagefuse\n") == 0)
			found = strtol(entry->d_name, NULL, 10);
		fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

/* The thread names itself, maybe a moment after it connected. @return its number, 0 if no daemon answers in time. */
static long wait_connected(void)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	uint64_t end = now_nsec() + CONNECT_SECONDS * UINT64_C(1000000000);
	struct pagefuse_stats stats = { .size = sizeof(stats) };

	while (now_nsec() < end) {
		long thread = worker_thread();

		if (thread != 0 && pagefuse_get_stats(&stats) == 0 && stats.connected)
			return thread;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int start(const char *name, bool twins, size_t mib, bool absent, long *ret_thread)
{
	struct pagefuse_options options = { .size = sizeof(options), .name = name, .mode = PAGEFUSE_MODE_FULL };
	int r;

	pages = mib * (1024 * 1024 / PAGE_BYTES);
	contents = twins ? pages / 2 : pages;
	*ret_thread = 0;
	if (absent)
		return make_memory(pages * PAGE_BYTES);
	r = pagefuse_configure(&options);
	if (r == 0)
		r = make_memory(pages * PAGE_BYTES);
	if (r == 0)
		r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, pages * PAGE_BYTES);
	if (r < 0)
		return r;
	*ret_thread = wait_connected();
	return *ret_thread == 0 ? -ETIMEDOUT : 0;
}

int main(int argc, char **argv)
{
	char line[64];
	long thread;
	int r;

	if (argc != 4 && !(argc == 5 && strcmp(argv[4], "absent") == 0)) {
		fprintf(stderr, "usage: writer NAME twins|unique MIB [absent]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = start(argv[1], strcmp(argv[2], "twins") == 0, strtoul(argv[3], NULL, 10), argc == 5, &thread);
	if (r < 0) {
		fprintf(stderr, "writer: %s\n", strerror(-r));
		return 1;
	}
	printf("ready %ld\n", thread);
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "write ", 6) == 0)
			write_for((unsigned)strtoul(line + 6, NULL, 10));
		else if (strncmp(line, "fill ", 5) == 0)
			fill((unsigned)strtoul(line + 5, NULL, 10));
		else if (strncmp(line, "walk ", 5) == 0)
			walk((unsigned)strtoul(line + 5, NULL, 10));
		else if (strcmp(line, "check\n") == 0)
			check();
	}
	return 0;
}
