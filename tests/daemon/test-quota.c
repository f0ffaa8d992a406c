/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The accounts of users: what they may have, of what, and that they go with the last thing that is charged to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/page.h"
#include "daemon/quota.h"

#define ALICE 20001u
#define BOB 20002u

static const struct quota_settings presets = {
	.user_ram_percent = 400, .user_store_factor = 8, .user_rings_percent = 2, .user_reports_per_second = 1000
};

static void test_accounts(void **state)
{
	struct quota quota;
	struct quota_user *alice;

	(void)state;
	quota_init(&quota, &presets, 50, 0);
	assert_in_range(quota.store_pages, 1, quota.ram_pages / 2);
	alice = quota_user_get(&quota, ALICE);
	assert_ptr_equal(quota_user_get(&quota, ALICE), alice);
	quota_user_charge(alice, 3);
	quota_user_put(alice);
	quota_user_put(alice);
	assert_ptr_equal(LIST_FIRST(&quota.users), alice); /* slots are left of VMs that are gone */
	assert_ptr_equal(quota_user_get(&quota, ALICE), alice);
	assert_int_equal(alice->slots, 3);
	quota_user_put(alice);
	quota_user_charge(alice, -3);
	assert_null(LIST_FIRST(&quota.users));
}

/* Takes all that @user may have. */
static void fill(struct quota_user *user)
{
	while (quota_may_store(user->quota) && quota_user_may_store(user)) {
		quota_user_charge(user, 1);
		user->quota->stored_pages++;
	}
}

static void test_store(void **state)
{
	struct quota_settings settings = presets;
	struct quota quota;
	struct quota_user *alice, *bob, *root;

	(void)state;
	quota_init(&quota, &settings, 0, 9000 * PAGE_BYTES);
	assert_int_equal(quota.store_pages, 9000);
	alice = quota_user_get(&quota, ALICE);
	bob = quota_user_get(&quota, BOB);
	root = quota_user_get(&quota, 0);
	fill(alice);
	assert_in_range(alice->slots, 7990, 8010); /* 8 of 9 parts */
	fill(bob);
	assert_in_range(bob->slots, 800, 900); /* 8 of 9 parts of what she has left */
	assert_false(quota_user_may_store(alice));
	assert_true(quota_user_may_store(root));
	assert_true(quota_may_store(&quota));
	settings.user_store_factor = 0;
	fill(alice);
	assert_false(quota_may_store(&quota)); /* nothing is left for anybody */
	quota_user_charge(alice, -(int64_t)alice->slots);
	quota_user_charge(bob, -(int64_t)bob->slots);
	quota_user_put(alice);
	quota_user_put(bob);
	quota_user_put(root);
}

/* Of 8 domains: who has as many as are left gets no more, so that each user gets one. */
static void test_domains(void **state)
{
	struct quota_user *alice, *bob, *root;
	struct quota quota;
	unsigned left = 8;

	(void)state;
	quota_init(&quota, &presets, 50, 0);
	alice = quota_user_get(&quota, ALICE);
	bob = quota_user_get(&quota, BOB);
	root = quota_user_get(&quota, 0);
	for (; quota_user_may_have_domain(alice, left); left--)
		quota_user_take_domain(alice);
	assert_int_equal(left, 4);
	for (; quota_user_may_have_domain(bob, left); left--)
		quota_user_take_domain(bob);
	assert_int_equal(left, 2);
	for (; quota_user_may_have_domain(root, left); left--)
		quota_user_take_domain(root);
	assert_int_equal(left, 0);
	quota_user_put(alice);
	assert_int_equal(alice->domains, 4); /* the account is there still */
	for (; alice->domains > 1; left++)
		quota_user_give_domain(alice);
	assert_true(quota_user_may_have_domain(alice, left));
	quota_user_give_domain(alice);
	while (bob->domains > 0)
		quota_user_give_domain(bob);
	while (root->domains > 0)
		quota_user_give_domain(root);
	quota_user_put(bob);
	quota_user_put(root);
	assert_null(LIST_FIRST(&quota.users));
}

static void test_sizes(void **state)
{
	struct quota_settings settings = presets;
	struct quota quota;
	struct quota_user *alice, *root;
	uint64_t rings;

	(void)state;
	quota_init(&quota, &settings, 50, 0);
	quota.ram_pages = UINT64_C(1) << 20; /* 4 GiB */
	alice = quota_user_get(&quota, ALICE);
	root = quota_user_get(&quota, 0);
	assert_int_equal(quota_user_ram_pages(alice), UINT64_C(4) << 20);
	assert_int_equal(quota_user_ram_pages(root), UINT64_MAX);
	rings = (UINT64_C(4) << 30) / 100 * 2 / 100;                      /* a hundred fit */
	assert_true(quota_user_may_have_rings(alice, 0, UINT64_MAX / 4)); /* the first one always */
	assert_true(quota_user_may_have_rings(alice, 99 * rings, rings));
	assert_false(quota_user_may_have_rings(alice, 100 * rings, rings));
	assert_true(quota_user_may_have_rings(root, 100 * rings, rings));
	assert_int_equal(quota_times_own(&quota, 1000, 5), 5 + 4000 + QUOTA_IN_ANY_CASE_PAGES);
	settings = (struct quota_settings){ .claims = QUOTA_CLAIMS_BELIEVED };
	assert_int_equal(quota_user_ram_pages(alice), UINT64_MAX);
	assert_true(quota_user_may_have_rings(alice, 100 * rings, rings));
	assert_int_equal(quota_times_own(&quota, 0, 0), UINT64_MAX);
	quota_user_put(alice);
	quota_user_put(root);
}

/* Of a domain with users who want as much as they can get, each leaves something; and nothing is theirs afterwards. */
static void test_numbers(void **state)
{
	struct quota_settings settings = presets;
	struct quota_numbers numbers;
	struct quota_user *alice, *bob, *root;
	struct quota quota;

	(void)state;
	settings.user_numbers_factor = 8;
	quota_init(&quota, &settings, 50, 0);
	quota_numbers_init(&numbers, 9000);
	alice = quota_user_get(&quota, ALICE);
	bob = quota_user_get(&quota, BOB);
	root = quota_user_get(&quota, 0);
	assert_false(quota_numbers_take(&numbers, alice, 9000));
	assert_false(quota_numbers_take(&numbers, alice, 8100));
	while (quota_numbers_take(&numbers, alice, 10))
		;
	assert_in_range(alice->numbers, 7980, 8000); /* 8 of 9 parts */
	assert_true(quota_numbers_take(&numbers, bob, 800));
	assert_false(quota_numbers_take(&numbers, alice, 1));
	quota_numbers_give(&numbers, alice, 4000);
	assert_true(quota_numbers_take(&numbers, bob, 3000));
	assert_true(quota_numbers_take(&numbers, root, 9000 - numbers.taken)); /* hers is the daemon */
	assert_false(quota_numbers_take(&numbers, root, 1));
	settings.user_numbers_factor = 0;
	quota_numbers_give(&numbers, bob, 3800);
	assert_true(quota_numbers_take(&numbers, alice, 3800));
	quota_user_put(alice);
	quota_user_put(bob);
	quota_user_put(root);
	quota_numbers_done(&numbers);
	assert_int_equal(numbers.taken, 0);
	assert_null(LIST_FIRST(&quota.users));
}

/* A user who always reports as much as is taken comes to the rate, whatever the times between. */
static void test_reports(void **state)
{
	struct quota quota;
	struct quota_user *alice;
	uint64_t now = UINT64_C(1000000000), begun = now, next = 0, taken = 0;

	(void)state;
	quota_init(&quota, &presets, 50, 0);
	alice = quota_user_get(&quota, ALICE);
	while (now < begun + 10000000) {
		unsigned most = quota_user_reports(alice, 2048, now, &next);

		if (most == 0) {
			assert_true(next > now);
			now = next;
			continue;
		}
		quota_user_took(alice, most + 15); /* batches are not cut */
		taken += most + 15;
		now += 7;
	}
	assert_in_range(taken, 9900, 10200);
	quota_user_put(alice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
