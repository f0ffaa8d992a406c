/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random calls over RAM that is shared in part, and over what lies around it, with lengths and addresses that are odd,
 * holes, and ranges of several kinds of memory. Each is made as a VMM makes it, and made again, past the preload, over
 * a twin of which nothing is known. Results, errors, all bytes, who may access them, and what the kernel has noted of
 * the mappings have to agree. Between the calls a director shares and unshares.
 *
 * Each sequence is a process of its own, and made from the seed and its number alone.
 *
 * What may differ, and is left out: which pages are resident (mincore, move_pages), 2 MiB pages and the advice on them,
 * what MADV_COLLAPSE returns, which is refused for blocks that cannot be one mapping (library/whole.h), what the kernel
 * has taken after MADV_FREE.
 *
 * usage: random [--by-number] [--only N]   with libc's functions, or with syscall(); sequence N only
 *        random --past                     past the preload: a control
 */
#include "tests/preload/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/sys.h"
#include "tests/preload/ram.h"
#include "tests/support/test.h"

#define STEPS 60u
#define CONTENTS 12u /* of whole pages; the first is zeros */
#define FIRST_PAGES (RAM_PAGES + 2 * FRONT_PAGES)
#define SECOND_PAGES 160u
#define BLOCK_BYTES (UINT64_C(2) << 20)

/** Where nothing else is mapped by itself, so holes stay holes. Sanitizers leave this place to the program. */
#define FIRST_ADDRESS UINT64_C(0x40000000)
#define DISTANCE UINT64_C(0x8000000)

struct given random_twin;

static uint64_t random_state;
static uint32_t first_page; /* of RAM, in the director's words */
static unsigned sequence;
static bool is_child;

/* ---- the story, told if it ends badly ---- */

static char story[STEPS + 8][192];
static unsigned steps;

static _Noreturn void tell(const char *what)
{
	for (unsigned i = 0; i < steps; i++)
		printf("  %s\n", story[i]);
	fflush(stdout);
	test_damage("sequence %u, step %u: %s", sequence, steps, what);
}

/* ---- memory ---- */

char *random_at(enum side side, unsigned area, size_t at)
{
	uint64_t address = FIRST_ADDRESS + (2 * area + (side == TWIN)) * DISTANCE;

	/* RAM begins with a block. */
	return (char *)(address + (area == 0 ? BLOCK_BYTES - FRONT_PAGES * PAGE_BYTES : 0)) + at;
}

size_t random_bytes(unsigned area)
{
	return (area == 0 ? FIRST_PAGES : SECOND_PAGES) * PAGE_BYTES;
}

static struct given past(long number, long a, long b, long c, long d, long e, long f)
{
	long r = sys_raw(number, a, b, c, d, e, f);

	return (struct given){ .result = sys_is_error(r) ? -1 : r, .error = sys_is_error(r) ? (int)-r : 0 };
}

long random_call(enum side side, long number, long a, long b, long c, long d, long e, long f)
{
	struct given given;

	if (side == RAM)
		return ram_call(number, (void *)a, (size_t)b, c, d, e, f);
	given = past(number, a, b, c, d, e, f);
	errno = given.error;
	return given.result;
}

struct given random_given(long result)
{
	return (struct given){ .result = result, .error = result == -1 ? errno : 0 };
}

static void map_area(enum side side, unsigned area, int advice)
{
	void *memory = random_at(side, area, 0);
	size_t length = random_bytes(area);

	test_check(mmap(memory, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			0) == memory,
		   "mmap at %p: %s", memory, strerror(errno));
	test_check(madvise(memory, length, advice) == 0, "madvise: %s", strerror(errno));
}

static void fill(void)
{
	for (unsigned area = 0; area < AREAS; area++)
		for (size_t i = 0; i < random_bytes(area); i += PAGE_BYTES) {
			uint64_t content = test_random(&random_state) % CONTENTS;

			for (enum side side = RAM; side < SIDES; side++)
				pages_fill(random_at(side, area, i), content);
		}
}

/** Shares, unshares or gives back some pages, as the story goes. */
static void direct(void)
{
	uint32_t length = (uint32_t)(1 + test_random(&random_state) % 64);
	uint32_t first = (uint32_t)(test_random(&random_state) % (RAM_PAGES - length));

	if (vm->regions[0].gone)
		return;
	if (test_random(&random_state) % 4 == 0)
		director_churn(vm, first_page + first, length, &random_state);
	else if (test_random(&random_state) % 4 == 0)
		director_zero(vm, first_page + first, length);
	else
		director_share(vm, first_page + first, length);
}

void random_share(struct range range)
{
	size_t first = FRONT_PAGES * PAGE_BYTES, end = first + RAM_PAGES * PAGE_BYTES;
	size_t from = range.from < first ? first : range.from, to = range.from + range.length;

	to = to > end ? end : to;
	if (range.area != 0 || from >= to || is_child || vm->regions[0].gone)
		return;
	director_scan(vm, first_page, RAM_PAGES);
	director_share(vm, first_page + (uint32_t)((from - first) / PAGE_BYTES), (uint32_t)((to - from) / PAGE_BYTES));
}

/** The last 2 MiB of it are one page, or many. */
static void begin(void)
{
	int advice = test_random(&random_state) % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;

	director = director_new();
	for (unsigned area = 0; area < AREAS; area++)
		for (enum side side = RAM; side < SIDES; side++)
			map_area(side, area, advice);
	fill();
	test_check(madvise(random_at(RAM, 0, FRONT_PAGES * PAGE_BYTES), RAM_PAGES * PAGE_BYTES, MADV_MERGEABLE) == 0,
		   "madvise: %s", strerror(errno));
	vm = director_accept(director);
	if (vm->refused[WIRE_REASON_NO_USERFAULTFD] != 0)
		test_skip("memory is left alone: %s", wire_reason_text(WIRE_REASON_NO_USERFAULTFD));
	test_check(vm->region_count == 1, "%u regions", vm->region_count);
	first_page = vm->regions[0].page;
	director_scan(vm, first_page, RAM_PAGES);
	for (unsigned i = 0; i < 12; i++)
		direct();
}

/* ---- comparing ---- */

/** What is readable of an area; errors[] says for each page what is not. */
static void read_area(enum side side, unsigned area, char *to, int *errors)
{
	for (size_t at = 0, bytes = random_bytes(area); at < bytes;) {
		struct iovec local = { to + at, bytes - at }, remote = { random_at(side, area, at), bytes - at };
		ssize_t length = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		int error = length < 0 ? errno : 0;
		size_t pages = length > 0 ? (size_t)length / PAGE_BYTES : 1;

		for (size_t i = 0; i < pages; i++, at += PAGE_BYTES)
			errors[at / PAGE_BYTES] = error;
	}
}

static void compare_area(unsigned area, const char *when)
{
	static char bytes[SIDES][FIRST_PAGES * PAGE_BYTES];
	static int errors[SIDES][FIRST_PAGES];
	char what[256];

	for (enum side side = RAM; side < SIDES; side++)
		read_area(side, area, bytes[side], errors[side]);
	for (size_t at = 0; at < random_bytes(area); at += PAGE_BYTES) {
		int error = errors[RAM][at / PAGE_BYTES], expected = errors[TWIN][at / PAGE_BYTES];

		if (error != expected)
			snprintf(what, sizeof(what), "%s: page %u:%zx is read with errno %d, its twin with %d", when,
				 area, at, error, expected);
		else if (error == 0 && memcmp(bytes[RAM] + at, bytes[TWIN] + at, PAGE_BYTES) != 0)
			snprintf(what, sizeof(what), "%s: page %u:%zx reads %02x..., its twin %02x...", when, area, at,
				 (unsigned char)bytes[RAM][at + 8], (unsigned char)bytes[TWIN][at + 8]);
		else
			continue;
		tell(what);
	}
}

/** Of VmFlags, what the library has to keep. */
static const char flags_kept[][3] = { "rd", "wr", "ex", "lo", "dc", "dd", "wf", "um", "uw", "sl" };

_Static_assert(FIRST_PAGES >= SECOND_PAGES, "there is room for both");

static uint16_t masks[SIDES][AREAS][FIRST_PAGES];

static void note_flags(uint64_t start, uint64_t end, uint16_t mask)
{
	for (unsigned area = 0; area < AREAS; area++)
		for (enum side side = RAM; side < SIDES; side++)
			for (size_t i = 0; i < random_bytes(area) / PAGE_BYTES; i++) {
				uint64_t page = (uint64_t)random_at(side, area, i * PAGE_BYTES);

				if (page >= start && page < end)
					masks[side][area][i] = mask;
			}
}

static void read_flags(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, end = 0;
	char line[512];

	test_check(smaps != NULL, "smaps: %s", strerror(errno));
	memset(masks, 0, sizeof(masks));
	while (fgets(line, sizeof(line), smaps) != NULL) {
		unsigned long from, to;
		uint16_t mask = 0x8000; /* mapped */

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			start = from;
			end = to;
		} else if (strncmp(line, "VmFlags:", 8) == 0 && start < FIRST_ADDRESS + 2 * AREAS * DISTANCE) {
			for (unsigned i = 0; i < sizeof(flags_kept) / sizeof(*flags_kept); i++)
				mask |= strstr(line, flags_kept[i]) != NULL ? (uint16_t)(1u << i) : 0;
			note_flags(start, end, mask);
		}
	}
	fclose(smaps);
}

struct mappings random_mappings(enum side side, struct range range)
{
	uint64_t start = (uint64_t)random_at(side, range.area, range.from);
	FILE *smaps = fopen("/proc/self/smaps", "re");
	struct mappings found = { 0 };
	bool inside = false;
	char line[512];

	test_check(smaps != NULL, "smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), smaps) != NULL) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			inside = from < start + range.length && start < to;
			found.count += inside;
		} else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
			found.faulted |= strstr(line, " um") != NULL || strstr(line, " uw") != NULL;
			found.sealed |= strstr(line, " sl") != NULL;
		}
	}
	fclose(smaps);
	return found;
}

static void compare_flags(const char *when)
{
	char what[256];

	read_flags();
	for (unsigned area = 0; area < AREAS; area++)
		for (size_t i = 0; i < random_bytes(area) / PAGE_BYTES; i++)
			if (masks[RAM][area][i] != masks[TWIN][area][i]) {
				snprintf(what, sizeof(what), "%s: page %u:%zx has the flags %x, its twin %x", when,
					 area, i * PAGE_BYTES, masks[RAM][area][i], masks[TWIN][area][i]);
				tell(what);
			}
}

static void compare(const char *when)
{
	for (unsigned area = 0; area < AREAS; area++)
		compare_area(area, when);
	compare_flags(when);
}

/* ---- steps ---- */

static size_t draw_length(size_t bytes)
{
	uint64_t kind = test_random(&random_state) % 32, pages = 1 + test_random(&random_state) % 24;

	if (kind == 0)
		return 0;
	if (kind == 1)
		return SIZE_MAX - test_random(&random_state) % (2 * PAGE_BYTES);
	if (kind < 4)
		return test_random(&random_state) % bytes;
	if (kind < 8)
		return pages * PAGE_BYTES - test_random(&random_state) % PAGE_BYTES;
	if (kind == 8)
		return 1 + test_random(&random_state) % (bytes / PAGE_BYTES) * PAGE_BYTES;
	return pages * PAGE_BYTES;
}

static struct range draw_range(void)
{
	struct range range = { .area = test_random(&random_state) % 8 == 0 };
	size_t bytes = random_bytes(range.area);

	range.from = test_random(&random_state) % (bytes / PAGE_BYTES) * PAGE_BYTES;
	if (test_random(&random_state) % 24 == 0)
		range.from += test_random(&random_state) % PAGE_BYTES;
	if (test_random(&random_state) % 16 == 0 && range.area == 0) { /* a block, just so */
		range.from = FRONT_PAGES * PAGE_BYTES;
		range.length = BLOCK_BYTES;
		return range;
	}
	range.length = draw_length(bytes);
	return range;
}

static struct plan draw_plan(void)
{
	struct plan plan = { .range = draw_range(), .other = draw_range() };

	for (unsigned i = 0; i < NUMBERS; i++)
		plan.number[i] = test_random(&random_state) >> 8;
	return plan;
}

/* Each kind as often as its weight says. */
static const struct kind *draw_kind(void)
{
	const struct kind *drawn = random_kinds;
	unsigned sum = 0;

	for (const struct kind *kind = random_kinds; kind < random_kinds + random_kind_count; kind++) {
		sum += kind->weight;
		if (test_random(&random_state) % sum < kind->weight)
			drawn = kind;
	}
	return drawn;
}

void random_same(const struct given given[SIDES], const char *name)
{
	char what[256];

	if (given[RAM].result == given[TWIN].result && given[RAM].error == given[TWIN].error &&
	    given[RAM].also == given[TWIN].also)
		return;
	snprintf(what, sizeof(what), "%s gives %ld (%s), %llx, and to its twin %ld (%s), %llx", name, given[RAM].result,
		 strerror(given[RAM].error), (unsigned long long)given[RAM].also, given[TWIN].result,
		 strerror(given[TWIN].error), (unsigned long long)given[TWIN].also);
	tell(what);
}

static void make_step(void)
{
	const struct kind *kind = draw_kind();
	struct plan plan = draw_plan();
	struct given given[SIDES];

	random_detail[0] = '\0';
	given[TWIN] = random_twin = kind->make(TWIN, &plan);
	given[RAM] = kind->make(RAM, &plan);
	snprintf(story[steps++], sizeof(story[0]), "%s %u:%zx+%zx %s: %ld (%s)", kind->name, plan.range.area,
		 plan.range.from, plan.range.length, random_detail, given[TWIN].result, strerror(given[TWIN].error));
	random_same(given, kind->name);
	if (kind->after != NULL)
		kind->after(&plan);
	if (test_random(&random_state) % 4 == 0)
		compare(kind->name);
}

static void make_steps(unsigned count)
{
	for (unsigned i = 0; i < count && steps < STEPS; i++)
		make_step();
}

static void run_child(void)
{
	int pid = test_fork();

	if (pid == 0) {
		is_child = true;
		compare("in a child");
		make_steps(6);
		compare("in a child, in the end");
		_exit(0);
	}
	test_end_child(pid);
	compare("after a fork");
}

static void run_sequence(void)
{
	random_state = test_seed(sequence);
	begin();
	compare("at first");
	while (steps < STEPS) {
		make_steps(1);
		if (test_random(&random_state) % 3 == 0)
			direct();
		if (test_random(&random_state) % 32 == 0)
			run_child();
	}
	compare("in the end");
	director_free(director);
}

static void run_apart(void)
{
	int pid = test_fork();

	if (pid == 0) {
		run_sequence();
		exit(0);
	}
	test_end_child(pid);
	test_progress();
}

int main(int argc, char **argv)
{
	int left = test_begin(argc, argv);

	way = test_wants("--past") ? PAST : test_wants("--by-number") ? BY_NUMBER
								      : BY_NAME;
	test_needs_moves();
	if (test_wants("--only")) {
		sequence = (unsigned)strtoul(argv[left - 1], NULL, 0);
		run_sequence();
		return 0;
	}
	for (; test_running(); sequence++)
		run_apart();
	printf("%u sequences of %u steps: all agree\n", sequence, STEPS);
	return 0;
}
