/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon keeps for its peers, user by user, over all domains, and how much of it they may have: relative to
 * the host, and to what the kernel says that a process has. Plain accounts; who asks for more is told no, and shares
 * less. Root, and the user that the daemon runs as, have no quota: the host, or the daemon, is theirs.
 */
#ifndef PAGEFUSE_DAEMON_QUOTA_H
#define PAGEFUSE_DAEMON_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/*
 * A VM may bring so many times more into the store, and have known, as it was seen to have at most of anonymous memory
 * and swap: what it shares is not its own any more. And so much in any case: what it has grows between two looks.
 */
#define QUOTA_TIMES_OWN 4u
#define QUOTA_IN_ANY_CASE_PAGES 16384u

enum quota_claims {
	QUOTA_CLAIMS_CHECKED,
	QUOTA_CLAIMS_BELIEVED,
};

struct quota_settings {
	unsigned claims;                  /* enum quota_claims */
	uint32_t user_ram_percent;        /* of the host's RAM, that a user's VMs may register; 0: any */
	uint32_t user_store_factor;       /* so many times what is free of the store may be a user's; 0: any */
	uint32_t user_rings_percent;      /* of the host's RAM, for rings, staging memory and maps; 0: any */
	uint32_t user_reports_per_second; /* 0: any */
	uint32_t user_numbers_factor;     /* as user_store_factor, of the page numbers of a domain */
};

/** A user who has VMs, or slots in a store; or several who are accounted for as one, see subuids.h. */
struct quota_user {
	LIST_ENTRY(quota_user) entries;
	struct quota *quota;
	uid_t uid;
	unsigned holders;   /* VMs and domains that are charged to it, and who asks */
	unsigned domains;   /* of these */
	uint64_t slots;     /* that these have brought in, and that are not dead */
	uint64_t numbers;   /* of pages that they have in all domains */
	int64_t reports;    /* that may come now */
	uint64_t fill_usec; /* when that was counted */
	bool said;          /* the log has said that its share of the store is reached */
};

struct quota {
	const struct quota_settings *settings; /* may change */
	uint64_t ram_pages;                    /* of the host */
	unsigned store_percent;                /* of quota_memory_bytes(), that all stores together may take; or */
	uint64_t store_bytes;                  /* so much, where that is 0 */
	uint64_t store_pages;                  /* what that is */
	uint64_t stored_pages;                 /* that they take */
	uint64_t charged_slots;                /* of all users: also slots that are still being filled */
	LIST_HEAD(, quota_user) users;
};

/** What a user has of a domain's page numbers. */
struct quota_holding {
	LIST_ENTRY(quota_holding) entries;
	struct quota_user *user;
	uint64_t numbers;
};

/** The page numbers of one domain. */
struct quota_numbers {
	uint64_t count, taken;
	LIST_HEAD(, quota_holding) holdings;
};

/** @settings has to last. All stores together may take @percent of the memory, or @bytes where that is 0. */
void quota_init(struct quota *quota, const struct quota_settings *settings, unsigned percent, uint64_t bytes);
/** Looks up anew what there is of memory: RAM of the host or, if less, what this process's control group may use. */
void quota_look(struct quota *quota);

/** The account of user @uid, for one holder more. @return NULL without memory. */
struct quota_user *quota_user_get(struct quota *quota, uid_t uid);
/** One holder less. */
void quota_user_put(struct quota_user *user);
/** @slots more, or less. The account goes with its last holder, its last slot and its last page number. */
void quota_user_charge(struct quota_user *user, int64_t slots);

/** Whether all stores together may take one page more. */
bool quota_may_store(const struct quota *quota);
/** Whether user may bring in one more. */
bool quota_user_may_store(const struct quota_user *user);
void quota_numbers_init(struct quota_numbers *numbers, uint64_t count);
/** The domain is no more: nobody has any of them. */
void quota_numbers_done(struct quota_numbers *numbers);
/** @count more for @user, until it gives them back. @return false if they are more than it may have. */
bool quota_numbers_take(struct quota_numbers *numbers, struct quota_user *user, uint64_t count);
void quota_numbers_give(struct quota_numbers *numbers, struct quota_user *user, uint64_t count);

/** Whether a domain may be made for @user, where @left more can be: who has as many already leaves them to others. */
bool quota_user_may_have_domain(const struct quota_user *user, unsigned left);
/** One that was made is for @user: as long as it is there, it holds the account. */
void quota_user_take_domain(struct quota_user *user);
void quota_user_give_domain(struct quota_user *user);

/** How many pages of RAM the VMs of @user may have in all; UINT64_MAX: any. */
uint64_t quota_user_ram_pages(const struct quota_user *user);
/** Whether @user, whose VMs have @held bytes of rings, staging memory and maps, may have @more. The first always. */
bool quota_user_may_have_rings(const struct quota_user *user, uint64_t held, uint64_t more);
/**
 * How many reports may be taken from the VMs of @user now, at most @most. @ret_usec: if none, when to ask again.
 * quota_user_took() then tells how many were.
 */
unsigned quota_user_reports(struct quota_user *user, unsigned most, uint64_t now_usec, uint64_t *ret_usec);
void quota_user_took(struct quota_user *user, unsigned reports);

/** Whose process was seen to have @own_pages at most: how many it may bring in, or have known, beyond @base. */
uint64_t quota_times_own(const struct quota *quota, uint64_t own_pages, uint64_t base);

#endif
