/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/guest-layout.h"

#define MIB_PAGES 256u
#define GIB_PAGES (1024u * MIB_PAGES)
#define FIRST_PAGE 7u

/* As the kernel of a guest sees it: with the hole below 1 MiB, and what firmware keeps. */
#define BELOW_1_MIB \
	{ \
		1, 158 \
	}
#define UP_TO(end_mib, kept_pages) \
	{ \
		MIB_PAGES, ((end_mib)-1) * MIB_PAGES - (kept_pages) \
	}
#define HIGH(mib) \
	{ \
		4 * GIB_PAGES, (mib)*MIB_PAGES \
	}

static uint32_t layout(const struct agent_pages *ram, uint32_t count, uint32_t mib, struct wire_range ret[2])
{
	return guest_layout_of_pc(ram, count, FIRST_PAGE, mib * MIB_PAGES, ret);
}

static void test_low(void **state)
{
	static const struct agent_pages ram[] = { BELOW_1_MIB, UP_TO(512, 32) };
	struct wire_range ret[GUEST_LAYOUT_RANGES];

	(void)state;
	assert_int_equal(layout(ram, 2, 512, ret), 1);
	assert_int_equal(ret[0].gfn, 0);
	assert_int_equal(ret[0].page, FIRST_PAGE);
	assert_int_equal(ret[0].pages, 512 * MIB_PAGES);
}

static void expect_cut(const struct agent_pages *ram, uint32_t count, uint32_t mib, uint32_t low_mib)
{
	struct wire_range ret[GUEST_LAYOUT_RANGES];

	assert_int_equal(layout(ram, count, mib, ret), 2);
	assert_int_equal(ret[0].gfn, 0);
	assert_int_equal(ret[0].page, FIRST_PAGE);
	assert_int_equal(ret[0].pages, low_mib * MIB_PAGES);
	assert_int_equal(ret[1].gfn, 4 * GIB_PAGES);
	assert_int_equal(ret[1].page, FIRST_PAGE + low_mib * MIB_PAGES);
	assert_int_equal(ret[1].pages, (mib - low_mib) * MIB_PAGES);
}

/* pc cuts at 3 GiB, q35 at 2 GiB, and either where it is told to. */
static void test_high(void **state)
{
	static const struct agent_pages pc[] = { BELOW_1_MIB, UP_TO(3072, 32), HIGH(5120) };
	static const struct agent_pages q35[] = {
		BELOW_1_MIB,
		UP_TO(2048, 33),
		HIGH(1024),
	};
	static const struct agent_pages told[] = { BELOW_1_MIB, UP_TO(100, 9000), UP_TO(256, 32), HIGH(256) };
	struct agent_pages sorted[4] = { told[0], told[1], { 200 * MIB_PAGES, 56 * MIB_PAGES - 32 }, told[3] };

	(void)state;
	expect_cut(pc, 3, 8192, 3072);
	expect_cut(q35, 3, 3072, 2048);
	expect_cut(sorted, 4, 512, 256);
}

/* What a guest says need not be so. */
static void test_misfits(void **state)
{
	static const struct agent_pages more[] = { BELOW_1_MIB, UP_TO(513, 0) };
	static const struct agent_pages only_high[] = { HIGH(256) };
	static const struct agent_pages all_high[] = { BELOW_1_MIB, HIGH(512) };
	static const struct agent_pages astride[] = { BELOW_1_MIB, { 4 * GIB_PAGES - 1, 2 } };
	static const struct agent_pages beyond[] = { BELOW_1_MIB, { AGENT_PFN_END - 1, 1 } };
	static const struct agent_pages below[] = { BELOW_1_MIB };
	struct wire_range ret[GUEST_LAYOUT_RANGES];

	(void)state;
	assert_int_equal(layout(more, 2, 512, ret), 0);
	assert_int_equal(layout(only_high, 1, 512, ret), 0);
	assert_int_equal(layout(all_high, 2, 512, ret), 0);
	assert_int_equal(layout(astride, 2, 512, ret), 0);
	assert_int_equal(layout(beyond, 2, 512, ret), 0);
	assert_int_equal(layout(below, 1, 8192, ret), 0); /* more than there is room for below 4 GiB */
	assert_int_equal(layout(below, 0, 512, ret), 0);
	assert_int_equal(layout(below, 1, 0, ret), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_low),
		cmocka_unit_test(test_high),
		cmocka_unit_test(test_misfits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
