/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ESX's states and scale; and figures that are missing, absurd, or written by somebody who means ill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/memory-figures.h"
#include "daemon/memory-state.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const struct memory_thresholds esx = { .high = 400, .clear = 100, .soft = 64, .hard = 32, .low = 16 };

/* ---- the scale ---- */

static void test_scale(void **state)
{
	static const struct memory_least automatic, fixed = { .bytes = GIB }, share = { .percent = 5 };

	(void)state;
	assert_int_equal(memory_min_free(&automatic, 0), 0);
	assert_int_equal(memory_min_free(&automatic, GIB), GIB * 6 / 100);
	assert_int_equal(memory_min_free(&automatic, 4 * GIB), 4 * GIB * 6 / 100);
	assert_int_equal(memory_min_free(&automatic, 12 * GIB), 4 * GIB * 6 / 100 + 8 * GIB * 4 / 100);
	assert_int_equal(memory_min_free(&automatic, 28 * GIB),
			 4 * GIB * 6 / 100 + 8 * GIB * 4 / 100 + 16 * GIB * 2 / 100);
	assert_int_equal(memory_min_free(&automatic, 100 * GIB),
			 4 * GIB * 6 / 100 + 8 * GIB * 4 / 100 + 16 * GIB * 2 / 100 + 72 * GIB / 100);
	assert_int_equal(memory_min_free(&fixed, 100 * GIB), GIB);
	assert_int_equal(memory_min_free(&share, 100 * GIB), 5 * GIB);
	assert_true(memory_min_free(&automatic, UINT64_MAX) < UINT64_MAX / 50); /* does not overflow */
	assert_true(memory_threshold_bytes(UINT64_MAX / 10000, 10000) > UINT64_MAX / 101);
}

/* ---- states ---- */

/* minFree is 100 bytes, so figures are percent. */
static enum memory_state next(enum memory_state state, uint64_t percent)
{
	return memory_state_next(state, &esx, 100, percent, false);
}

static void test_falling(void **state)
{
	static const struct {
		uint64_t percent;
		enum memory_state state;
	} steps[] = {
		{ 1000, MEMORY_HIGH },
		{ 400, MEMORY_HIGH },
		{ 100, MEMORY_HIGH },
		{ 99, MEMORY_CLEAR },
		{ 64, MEMORY_CLEAR },
		{ 63, MEMORY_SOFT },
		{ 32, MEMORY_SOFT },
		{ 31, MEMORY_HARD },
		{ 16, MEMORY_HARD },
		{ 15, MEMORY_LOW },
		{ 0, MEMORY_LOW },
	};
	enum memory_state now = MEMORY_HIGH;

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		now = next(now, steps[i].percent);
		assert_int_equal(now, steps[i].state);
		assert_int_equal(next(now, steps[i].percent), now);
		assert_int_equal(next(MEMORY_HIGH, steps[i].percent), now); /* also at once */
	}
}

static void test_rising(void **state)
{
	static const struct {
		uint64_t percent;
		enum memory_state state;
	} steps[] = {
		{ 16, MEMORY_LOW },
		{ 32, MEMORY_LOW },
		{ 33, MEMORY_HARD },
		{ 64, MEMORY_HARD },
		{ 65, MEMORY_SOFT },
		{ 100, MEMORY_SOFT },
		{ 101, MEMORY_CLEAR },
		{ 400, MEMORY_CLEAR },
		{ 401, MEMORY_HIGH },
	};
	enum memory_state now = MEMORY_LOW;

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		now = next(now, steps[i].percent);
		assert_int_equal(now, steps[i].state);
		assert_int_equal(next(MEMORY_LOW, steps[i].percent), now);
	}
}

/* Between two thresholds whatever is so stays so: nothing flips there. */
static void test_hysteresis(void **state)
{
	(void)state;
	for (uint64_t percent = 100; percent <= 400; percent++) {
		assert_int_equal(next(MEMORY_HIGH, percent), MEMORY_HIGH);
		assert_int_equal(next(MEMORY_CLEAR, percent), MEMORY_CLEAR);
	}
	for (uint64_t percent = 64; percent <= 99; percent++) {
		assert_int_equal(next(MEMORY_CLEAR, percent), MEMORY_CLEAR);
		assert_int_equal(next(MEMORY_SOFT, percent), MEMORY_SOFT);
	}
	/* For each state and each figure: one step settles it. */
	for (unsigned from = MEMORY_HIGH; from <= MEMORY_LOW; from++)
		for (uint64_t percent = 0; percent < 500; percent++)
			assert_int_equal(next(next(from, percent), percent), next(from, percent));
}

static void test_stalls(void **state)
{
	(void)state;
	assert_int_equal(memory_state_next(MEMORY_HIGH, &esx, 100, 1000, true), MEMORY_SOFT);
	assert_int_equal(memory_state_next(MEMORY_SOFT, &esx, 100, 1000, true), MEMORY_SOFT);
	assert_int_equal(memory_state_next(MEMORY_LOW, &esx, 100, 1000, true), MEMORY_SOFT);
	assert_int_equal(memory_state_next(MEMORY_SOFT, &esx, 100, 10, true), MEMORY_LOW);
	assert_int_equal(memory_state_next(MEMORY_SOFT, &esx, 100, 1000, false), MEMORY_HIGH);
	assert_int_equal(memory_state_next(MEMORY_SOFT, &esx, 100, 200, false), MEMORY_CLEAR);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(memory_state_name(MEMORY_HIGH), "high");
	assert_string_equal(memory_state_name(MEMORY_LOW), "low");
	assert_string_equal(memory_state_name(MEMORY_STATES), "?");
}

/* ---- figures ---- */

static void test_cgroup(void **state)
{
	static const struct memory_figures host = { 100 * GIB, 50 * GIB, 4 * GIB };
	struct memory_figures figures;

	(void)state;
	memory_figures_of_cgroup(&host, 10 * GIB, 8 * GIB, 3 * GIB, 0, &figures);
	assert_int_equal(figures.total_bytes, 10 * GIB);
	assert_int_equal(figures.free_bytes, 5 * GIB);
	memory_figures_of_cgroup(&host, UINT64_MAX, 8 * GIB, 3 * GIB, 0, &figures); /* no limit */
	assert_int_equal(figures.total_bytes, host.total_bytes);
	assert_int_equal(figures.free_bytes, host.free_bytes);
	memory_figures_of_cgroup(&host, 200 * GIB, 8 * GIB, 3 * GIB, 0, &figures); /* none that counts */
	assert_int_equal(figures.total_bytes, host.total_bytes);
	memory_figures_of_cgroup(&host, 10 * GIB, 12 * GIB, GIB, 0, &figures); /* the limit was lowered */
	assert_int_equal(figures.free_bytes, 0);
	memory_figures_of_cgroup(&host, 10 * GIB, GIB, 3 * GIB, 0, &figures); /* of another moment */
	assert_int_equal(figures.free_bytes, 10 * GIB);
	memory_figures_of_cgroup(&host, 90 * GIB, GIB, 0, 0, &figures); /* no more than the host has */
	assert_int_equal(figures.free_bytes, 50 * GIB);
	memory_figures_of_cgroup(&host, 10 * GIB, GIB, 0, 3 * GIB, &figures);
	assert_int_equal(figures.swap_bytes, 3 * GIB);
	memory_figures_of_cgroup(&host, 10 * GIB, GIB, 0, UINT64_MAX, &figures);
	assert_int_equal(figures.swap_bytes, 4 * GIB);
	memory_figures_of_cgroup(&host, UINT64_MAX, GIB, 0, 0, &figures);
	assert_int_equal(figures.swap_bytes, 4 * GIB);
	memory_figures_of_cgroup(&host, 0, 0, UINT64_MAX, 0, &figures);
	assert_false(memory_figures_are_sane(&figures));
}

static void test_sane(void **state)
{
	(void)state;
	assert_true(memory_figures_are_sane(&(struct memory_figures){ GIB, 0, 0 }));
	assert_true(memory_figures_are_sane(&(struct memory_figures){ GIB, GIB, GIB }));
	assert_false(memory_figures_are_sane(&(struct memory_figures){ 0, 0, 0 }));
	assert_false(memory_figures_are_sane(&(struct memory_figures){ GIB, GIB + 1, 0 }));
	assert_false(memory_figures_are_sane(&(struct memory_figures){ UINT64_MAX, GIB, 0 }));
	assert_false(memory_figures_are_sane(&(struct memory_figures){ GIB, GIB, UINT64_MAX }));
}

/* ---- files ---- */

static char directory[96];

static void put(const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static int read_it(const char *name, struct memory_figures *ret, enum memory_kind *ret_kind, char error[512])
{
	char path[128];

	error[0] = 0;
	snprintf(path, sizeof(path), "%s%s%s", directory, *name ? "/" : "", name);
	return memory_figures_read(path, ret, ret_kind, error, 512);
}

static void test_file(void **state)
{
	struct memory_figures figures;
	enum memory_kind kind;
	char error[512];

	(void)state;
	put("meminfo", "MemTotal: 1024 kB\nMemAvailable: 512 kB\n");
	assert_int_equal(read_it("meminfo", &figures, &kind, error), 0);
	assert_int_equal(kind, MEMORY_OF_FILE);
	assert_int_equal(figures.total_bytes, MIB);
	assert_int_equal(figures.free_bytes, MIB / 2);
	assert_int_equal(figures.swap_bytes, 0);
	put("meminfo", "MemTotal: 1024 kB\nMemAvailable: 512 kB\nSwapFree: 2048 kB\n");
	assert_int_equal(read_it("meminfo", &figures, &kind, error), 0);
	assert_int_equal(figures.swap_bytes, 2 * MIB);
	put("meminfo", "MemTotal: 1024 kB\nMemAvailable: 512 kB\nSwapFree: -1 kB\n");
	assert_int_equal(read_it("meminfo", &figures, &kind, error), -EINVAL);
	assert_non_null(strstr(error, "SwapFree"));
	put("meminfo", "MemTotal: 1024 kB\nMemAvailable: 1025 kB\n");
	assert_int_equal(read_it("meminfo", &figures, &kind, error), -ERANGE);
	assert_non_null(strstr(error, "that cannot be"));
	put("meminfo", "");
	assert_int_equal(read_it("meminfo", &figures, &kind, error), -ENOENT);
	assert_non_null(strstr(error, "meminfo"));
	assert_int_equal(read_it("missing", &figures, &kind, error), -ENOENT);
	assert_non_null(strstr(error, "No such file"));
	assert_int_equal(memory_figures_read("/dev/zero", &figures, &kind, error, sizeof(error)), -EINVAL);
	assert_int_equal(memory_figures_read("host", &figures, &kind, error, sizeof(error)), 0);
	assert_int_equal(kind, MEMORY_OF_HOST);
	/* One that nobody writes to would be waited for, for ever. */
	snprintf(error, sizeof(error), "%s/fifo", directory);
	assert_int_equal(mkfifo(error, 0600), 0);
	assert_int_equal(read_it("fifo", &figures, &kind, error), -EINVAL);
}

static void test_cgroup_files(void **state)
{
	struct memory_figures figures, host;
	enum memory_kind kind;
	char error[512];

	(void)state;
	assert_int_equal(memory_figures_read("host", &host, &kind, error, sizeof(error)), 0);
	assert_int_equal(read_it("", &figures, &kind, error), -EINVAL);
	assert_non_null(strstr(error, "no cgroup"));
	put("cgroup.controllers", "memory\n");
	assert_int_equal(read_it("", &figures, &kind, error), 0); /* as the root has it */
	assert_int_equal(kind, MEMORY_OF_HOST);
	assert_int_equal(figures.total_bytes, host.total_bytes);
	put("memory.max", "4194304\n");
	put("memory.high", "max\n");
	assert_int_equal(read_it("", &figures, &kind, error), -ENOENT); /* memory.current */
	assert_non_null(strstr(error, "memory.current"));
	put("memory.current", "3145728\n");
	put("memory.stat", "anon 1\ninactive_file 65536\nactive_file 65536\n");
	assert_int_equal(read_it("", &figures, &kind, error), 0);
	assert_int_equal(kind, MEMORY_OF_CGROUP2);
	assert_int_equal(figures.total_bytes, 4 * MIB);
	assert_int_equal(figures.free_bytes, MIB + 131072);
	put("memory.swap.max", "8192\n");
	assert_int_equal(read_it("", &figures, &kind, error), -ENOENT);
	assert_non_null(strstr(error, "memory.swap.current"));
	put("memory.swap.current", "4096\n");
	assert_int_equal(read_it("", &figures, &kind, error), 0);
	assert_true(figures.swap_bytes == 4096 || host.swap_bytes < 4096);
	put("memory.swap.current", "12288\n"); /* the limit was lowered */
	assert_int_equal(read_it("", &figures, &kind, error), 0);
	assert_int_equal(figures.swap_bytes, 0);
	put("memory.high", "2097152\n");
	assert_int_equal(read_it("", &figures, &kind, error), 0);
	assert_int_equal(figures.total_bytes, 2 * MIB);
	assert_int_equal(figures.free_bytes, 0);
	put("memory.stat", "anon 1\n");
	assert_int_equal(read_it("", &figures, &kind, error), -EINVAL);
	put("memory.max", "-7\n");
	assert_int_equal(read_it("", &figures, &kind, error), -EINVAL);
	assert_non_null(strstr(error, "memory.max"));

	put("memory.limit_in_bytes", "9223372036854771712\n"); /* what version 1 has for none */
	put("memory.usage_in_bytes", "3145728\n");
	put("memory.stat", "total_inactive_file 65536\ntotal_active_file 0\n");
	assert_int_equal(read_it("", &figures, &kind, error), 0);
	assert_int_equal(kind, MEMORY_OF_HOST);
	put("memory.limit_in_bytes", "4194304\n");
	assert_int_equal(read_it("", &figures, &kind, error), 0);
	assert_int_equal(kind, MEMORY_OF_CGROUP1);
	assert_int_equal(figures.free_bytes, MIB + 65536);
	assert_int_equal(figures.swap_bytes, 0);
}

static int make_directory(void **state)
{
	const char *where = getenv("TMPDIR");

	(void)state;
	snprintf(directory, sizeof(directory), "%s/memory-state-XXXXXX", where ? where : "/tmp");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	static const char *const names[] = { "meminfo", "fifo", "cgroup.controllers", "memory.max", "memory.high",
					     "memory.current", "memory.stat", "memory.limit_in_bytes",
					     "memory.swap.max",
					     "memory.usage_in_bytes", "memory.swap.current" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
	}
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_falling),
		cmocka_unit_test(test_rising),
		cmocka_unit_test(test_hysteresis),
		cmocka_unit_test(test_stalls),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_sane),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_cgroup_files),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
