/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What exposure_max is, who may add to what is exposed, and how often it is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/exposure.h"

#define GIB (UINT64_C(1) << 30)
#define GIB_PAGES (GIB / 4096)
#define LIMIT 10000u

static void test_limit(void **state)
{
	static const struct exposure_limit none, size = { .bytes = GIB }, share = { .percent = 50 };

	(void)state;
	assert_true(exposure_limit_pages(&none, 0) == UINT64_MAX);
	assert_true(exposure_limit_pages(&none, UINT64_MAX) == UINT64_MAX);
	assert_int_equal(exposure_limit_pages(&size, 0), GIB_PAGES);
	assert_int_equal(exposure_limit_pages(&size, UINT64_MAX), GIB_PAGES);
	assert_int_equal(exposure_limit_pages(&share, 4 * GIB), 2 * GIB_PAGES);
	assert_int_equal(exposure_limit_pages(&share, 0), 0);
	assert_int_equal(exposure_limit_pages(&share, UINT64_MAX), 0); /* nobody can tell what is free */
}

/* What a VM of @domains[i] has. */
struct vm {
	unsigned domain;
	uint64_t pages;
	bool held;
};

#define DOMAINS 4u

/* Lets each of @count VMs have one page more, in turn, as long as any of them may. @return what all have. */
static uint64_t fill(struct vm *vms, unsigned count)
{
	struct exposure exposure = { .limit_pages = LIMIT };
	uint64_t domains[DOMAINS] = { 0 };
	bool any = true;

	for (unsigned i = 0; i < count; i++) {
		exposure.pages += vms[i].pages;
		domains[vms[i].domain] += vms[i].pages;
	}
	while (any) {
		any = false;
		for (unsigned i = 0; i < count; i++) {
			struct vm *vm = &vms[i];

			exposure.pages++;
			if (exposure_may(&exposure, domains[vm->domain] + 1, vm->pages + 1, vm->held)) {
				domains[vm->domain]++;
				vm->pages++;
				any = true;
			} else {
				exposure.pages--;
			}
		}
	}
	return exposure.pages;
}

static void test_shares(void **state)
{
	struct vm alone[] = { { 0 } };
	struct vm two[] = { { 0 }, { 0 } };
	struct vm domains[] = { { 0 }, { .domain = 1 }, { .domain = 1 }, { .domain = 1 } };

	(void)state;
	assert_in_range(fill(alone, 1), LIMIT * 79 / 100, LIMIT * 80 / 100);
	assert_in_range(fill(two, 2), LIMIT * 80 / 100, LIMIT * 89 / 100);
	assert_in_range(two[0].pages, two[1].pages - 1, two[1].pages + 1);
	/* A domain with one VM gets more than each VM of a domain with three. */
	assert_in_range(fill(domains, 4), LIMIT * 85 / 100, LIMIT);
	assert_true(domains[0].pages > domains[1].pages && domains[0].pages > LIMIT / 4);
	assert_in_range(domains[1].pages, domains[3].pages - 1, domains[3].pages + 1);
}

/* Who has come first and taken all that it may leaves something, to its own domain and to others. */
static void test_latecomers(void **state)
{
	struct vm vms[] = { { 0 }, { 0 }, { .domain = 1 } };

	(void)state;
	(void)fill(vms, 1);
	(void)fill(vms, 2);
	assert_true(vms[1].pages >= LIMIT * 8 / 100);
	(void)fill(vms, 3);
	assert_true(vms[2].pages >= LIMIT * 8 / 100);
	assert_true(vms[0].pages + vms[1].pages + vms[2].pages <= LIMIT);
}

static void test_margin(void **state)
{
	struct exposure exposure = { .limit_pages = LIMIT };
	uint64_t last = 0, last_held = 0;

	(void)state;
	for (uint64_t pages = 1; pages < LIMIT; pages++) {
		exposure.pages = pages;
		last = exposure_may(&exposure, pages, pages, false) ? pages : last;
		last_held = exposure_may(&exposure, pages, pages, true) ? pages : last_held;
	}
	assert_true(last_held > 0 && last_held < last - last / EXPOSURE_MARGIN / 2);
	exposure.limit_pages = 0;
	assert_false(exposure_may(&exposure, 1, 1, false));
	exposure.limit_pages = UINT64_MAX;
	assert_true(exposure_may(&exposure, UINT64_MAX / 2, UINT64_MAX / 2, true));
	exposure.limit_pages = UINT64_MAX / 4096; /* the largest size: does not overflow */
	assert_true(exposure_may(&exposure, 1 << 20, 1 << 20, true));
}

/* However often it comes and goes it is said once; and that it is over once that has been so for a while. */
static void test_notice(void **state)
{
	struct exposure_notice notice = { 0 };
	uint64_t now = 1000;

	(void)state;
	assert_int_equal(exposure_look(&notice, false, true, now), EXPOSURE_NO_NEWS);
	assert_int_equal(exposure_look(&notice, true, false, ++now), EXPOSURE_BEGINS);
	for (unsigned i = 0; i < 1000; i++, now += 1000000)
		assert_int_equal(exposure_look(&notice, i % 20 == 0, i % 20 != 0, now), EXPOSURE_NO_NEWS);
	assert_int_equal(exposure_look(&notice, false, true, now), EXPOSURE_NO_NEWS);
	now += EXPOSURE_CALM_USEC / 2;
	assert_int_equal(exposure_look(&notice, false, false, now), EXPOSURE_NO_NEWS); /* nearly so again */
	assert_int_equal(exposure_look(&notice, false, true, ++now), EXPOSURE_NO_NEWS);
	now += EXPOSURE_CALM_USEC;
	assert_int_equal(exposure_look(&notice, false, true, now), EXPOSURE_ENDS);
	assert_int_equal(exposure_look(&notice, false, true, ++now), EXPOSURE_NO_NEWS);
	assert_int_equal(exposure_look(&notice, true, false, ++now), EXPOSURE_BEGINS);
}

static void test_covered_well(void **state)
{
	(void)state;
	assert_true(exposure_is_covered_well(0, 0));
	assert_true(exposure_is_covered_well(15 * GIB, 16 * GIB));
	assert_false(exposure_is_covered_well(15 * GIB + 1, 16 * GIB));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_latecomers),
		cmocka_unit_test(test_margin),
		cmocka_unit_test(test_notice),
		cmocka_unit_test(test_covered_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
