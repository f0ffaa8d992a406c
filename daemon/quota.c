/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A user's share of the store depends on what is free of it, as in switches that share buffers among ports (Choudhury
 * and Hahne, 1998). With a factor of f a user alone gets f / (1 + f) of the store, and n users who all want as much as
 * they can get have f / (1 + n f) each. Something is always left for the next user, and when he takes it the others'
 * shares shrink. The page numbers of a domain are shared in the same way.
 */
#include "daemon/quota.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/cgroup.h"
#include "common/page.h"

#ifndef QUOTA_HOST_BYTES
#define QUOTA_HOST_BYTES 0 /* as the kernel says; tests build for hosts with less */
#endif
#define SECOND_USEC UINT64_C(1000000)
#define BURST_USEC (SECOND_USEC / 10) /* of reports that were not sent in time */

static uint64_t host_ram_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

	if (QUOTA_HOST_BYTES != 0)
		return QUOTA_HOST_BYTES;
	return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_C(1) << 30;
}

void quota_init(struct quota *quota, const struct quota_settings *settings, unsigned percent, uint64_t bytes)
{
	*quota = (struct quota){ .settings = settings, .store_percent = percent, .store_bytes = bytes };
	LIST_INIT(&quota->users);
	quota_look(quota);
}

void quota_look(struct quota *quota)
{
	uint64_t ram = host_ram_bytes(), limit = cgroup_memory_limit("", getpid()), bytes = quota->store_bytes;

	quota->ram_pages = ram / PAGE_BYTES;
	if (quota->store_percent > 0)
		bytes = (limit < ram ? limit : ram) * quota->store_percent / 100;
	quota->store_pages = bytes / PAGE_BYTES;
}

/* ---- accounts ---- */

struct quota_user *quota_user_get(struct quota *quota, uid_t uid)
{
	struct quota_user *user;

	LIST_FOREACH(user, &quota->users, entries)
		if (user->uid == uid)
			break;
	if (user == NULL) {
		user = calloc(1, sizeof(*user));
		if (user == NULL)
			return NULL;
		user->quota = quota;
		user->uid = uid;
		LIST_INSERT_HEAD(&quota->users, user, entries);
	}
	user->holders++;
	return user;
}

static void free_unused(struct quota_user *user)
{
	if (user->holders > 0 || user->slots > 0 || user->numbers > 0)
		return;
	LIST_REMOVE(user, entries);
	free(user);
}

void quota_user_put(struct quota_user *user)
{
	if (user == NULL)
		return;
	user->holders--;
	free_unused(user);
}

void quota_user_charge(struct quota_user *user, int64_t slots)
{
	user->slots += (uint64_t)slots;
	user->quota->charged_slots += (uint64_t)slots;
	free_unused(user);
}

/* ---- what they may have ---- */

static bool is_exempt(const struct quota_user *user)
{
	return user->uid == 0 || user->uid == geteuid();
}

bool quota_user_may_have_domain(const struct quota_user *user, unsigned left)
{
	return left > 0 && (is_exempt(user) || user->domains < left);
}

void quota_user_take_domain(struct quota_user *user)
{
	user->holders++;
	user->domains++;
}

void quota_user_give_domain(struct quota_user *user)
{
	user->domains--;
	quota_user_put(user);
}

bool quota_may_store(const struct quota *quota)
{
	return quota->stored_pages < quota->store_pages;
}

bool quota_user_may_store(const struct quota_user *user)
{
	const struct quota *quota = user->quota;
	uint64_t factor = quota->settings->user_store_factor;
	uint64_t taken = quota->charged_slots > quota->stored_pages ? quota->charged_slots : quota->stored_pages;

	if (is_exempt(user) || factor == 0)
		return true;
	return taken < quota->store_pages && user->slots / factor < quota->store_pages - taken;
}

void quota_numbers_init(struct quota_numbers *numbers, uint64_t count)
{
	*numbers = (struct quota_numbers){ .count = count };
	LIST_INIT(&numbers->holdings);
}

static void give_back(struct quota_numbers *numbers, struct quota_holding *holding, uint64_t count)
{
	struct quota_user *user = holding->user;

	numbers->taken -= count;
	holding->numbers -= count;
	user->numbers -= count;
	if (holding->numbers == 0) {
		LIST_REMOVE(holding, entries);
		free(holding);
	}
	free_unused(user);
}

void quota_numbers_done(struct quota_numbers *numbers)
{
	struct quota_holding *holding = LIST_FIRST(&numbers->holdings), *next;

	for (; holding; holding = next) {
		next = LIST_NEXT(holding, entries);
		give_back(numbers, holding, holding->numbers);
	}
}

static struct quota_holding *find_holding(const struct quota_numbers *numbers, const struct quota_user *user)
{
	struct quota_holding *holding;

	LIST_FOREACH(holding, &numbers->holdings, entries)
		if (holding->user == user)
			return holding;
	return NULL;
}

static bool may_number(const struct quota_numbers *numbers, const struct quota_user *user, uint64_t has, uint64_t count)
{
	uint64_t factor = user->quota->settings->user_numbers_factor, left = numbers->count - numbers->taken;

	if (count > left)
		return false;
	return is_exempt(user) || factor == 0 || (has + count) / factor < left - count;
}

bool quota_numbers_take(struct quota_numbers *numbers, struct quota_user *user, uint64_t count)
{
	struct quota_holding *holding = find_holding(numbers, user);

	if (!may_number(numbers, user, holding ? holding->numbers : 0, count))
		return false;
	if (holding == NULL) {
		holding = calloc(1, sizeof(*holding));
		if (holding == NULL)
			return false;
		holding->user = user;
		LIST_INSERT_HEAD(&numbers->holdings, holding, entries);
	}
	holding->numbers += count;
	user->numbers += count;
	numbers->taken += count;
	return true;
}

void quota_numbers_give(struct quota_numbers *numbers, struct quota_user *user, uint64_t count)
{
	give_back(numbers, find_holding(numbers, user), count);
}

uint64_t quota_user_ram_pages(const struct quota_user *user)
{
	uint64_t percent = user->quota->settings->user_ram_percent;

	return is_exempt(user) || percent == 0 ? UINT64_MAX : user->quota->ram_pages * percent / 100;
}

bool quota_user_may_have_rings(const struct quota_user *user, uint64_t held, uint64_t more)
{
	uint64_t percent = user->quota->settings->user_rings_percent;

	if (is_exempt(user) || percent == 0 || held == 0)
		return true;
	return held + more <= user->quota->ram_pages * PAGE_BYTES / 100 * percent;
}

/* A bucket of what may come within a tenth of a second. */
unsigned quota_user_reports(struct quota_user *user, unsigned most, uint64_t now_usec, uint64_t *ret_usec)
{
	uint64_t rate = user->quota->settings->user_reports_per_second;
	uint64_t passed = now_usec - user->fill_usec;
	int64_t full = (int64_t)(rate * BURST_USEC / SECOND_USEC) + 1;

	if (is_exempt(user) || rate == 0)
		return most;
	passed = passed < BURST_USEC ? passed : BURST_USEC;
	if (passed * rate >= SECOND_USEC) {
		user->reports += (int64_t)(passed * rate / SECOND_USEC);
		user->fill_usec = now_usec;
	}
	if (user->reports > full)
		user->reports = full;
	if (user->reports > 0)
		return user->reports < (int64_t)most ? (unsigned)user->reports : most;
	*ret_usec = now_usec + (uint64_t)(1 - user->reports) * SECOND_USEC / rate + 1;
	return 0;
}

void quota_user_took(struct quota_user *user, unsigned reports)
{
	user->reports -= reports;
}

uint64_t quota_times_own(const struct quota *quota, uint64_t own_pages, uint64_t base)
{
	if (quota->settings->claims == QUOTA_CLAIMS_BELIEVED)
		return UINT64_MAX;
	return base + QUOTA_TIMES_OWN * own_pages + QUOTA_IN_ANY_CASE_PAGES;
}
