/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ranges of user numbers, from a file that people and tools write, and that changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/subuids.h"

static char path[] = "/tmp/pagefuse-subuids-XXXXXX";

static void write_file(const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static void test_ranges(void **state)
{
	struct subuids subuids;

	(void)state;
	write_file("alice:100000:65536\nbob:165536:65536\n1001:300000:1\nlast:4294967290:5");
	subuids_init(&subuids, path);
	assert_int_equal(subuids_account(&subuids, 0), 0);
	assert_int_equal(subuids_account(&subuids, 1000), 1000);
	assert_int_equal(subuids_account(&subuids, 99999), 99999);
	assert_int_equal(subuids_account(&subuids, 100000), 100000);
	assert_int_equal(subuids_account(&subuids, 165535), 100000);
	assert_int_equal(subuids_account(&subuids, 165536), 165536);
	assert_int_equal(subuids_account(&subuids, 231071), 165536);
	assert_int_equal(subuids_account(&subuids, 231072), 231072);
	assert_int_equal(subuids_account(&subuids, 300000), 300000);
	assert_int_equal(subuids_account(&subuids, 300001), 300001);
	assert_int_equal(subuids_account(&subuids, 4294967294u), 4294967290u);
	subuids_done(&subuids);
}

/* Whoever has one of two that overlap can be who has the other, too. */
static void test_overlapping(void **state)
{
	struct subuids subuids;

	(void)state;
	write_file("a:150000:65536\nb:100000:65536\nc:400000:10\nc:400000:1000\nd:400010:5\ne:401000:1\n");
	subuids_init(&subuids, path);
	assert_int_equal(subuids_account(&subuids, 100000), 100000);
	assert_int_equal(subuids_account(&subuids, 160000), 100000);
	assert_int_equal(subuids_account(&subuids, 215535), 100000);
	assert_int_equal(subuids_account(&subuids, 215536), 215536);
	assert_int_equal(subuids_account(&subuids, 400012), 400000);
	assert_int_equal(subuids_account(&subuids, 400999), 400000);
	assert_int_equal(subuids_account(&subuids, 401000), 401000); /* beside it */
	assert_int_equal(subuids_range(&subuids, 400500).count, 1000);
	subuids_done(&subuids);
}

/* Nobody counts as root by them, and no number that there is not is in one. */
static void test_nonsense(void **state)
{
	struct subuids subuids;

	(void)state;
	write_file("\n:\na\na:b:c\na:1000\na:1000:\na:1000:0\na:0:65536\n#a:1000:9\na:1000:9:9\na:1000:9 x\n"
		   "a:4294967295:1\na:4294967290:6\na:18446744073709551616:5\na:-1:9\na:1000:-1\ngood:2000:9\n");
	subuids_init(&subuids, path);
	for (uid_t uid = 0; uid < 2000; uid++)
		assert_int_equal(subuids_account(&subuids, uid), uid);
	assert_int_equal(subuids_account(&subuids, 4294967295u), 4294967295u);
	assert_int_equal(subuids_account(&subuids, 4294967290u), 4294967290u);
	assert_int_equal(subuids_account(&subuids, 2008), 2000);
	subuids_done(&subuids);
}

static void test_changes(void **state)
{
	struct subuids subuids;

	(void)state;
	unlink(path);
	subuids_init(&subuids, path);
	assert_int_equal(subuids_account(&subuids, 100005), 100005);
	write_file("alice:100000:10\n");
	assert_int_equal(subuids_account(&subuids, 100005), 100000);
	write_file("alice:100003:10\nalice:1:1\n"); /* of another size, whatever the clock says */
	assert_int_equal(subuids_account(&subuids, 100005), 100003);
	unlink(path);
	assert_int_equal(subuids_account(&subuids, 100005), 100005);
	subuids_done(&subuids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_overlapping),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_changes),
	};
	int failed;

	close(mkstemp(path));
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
