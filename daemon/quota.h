/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits on what the daemon keeps for each user, over all domains: relative to the host, and to what the kernel says
 * that a process has. Plain accounts. A user at a limit is refused more, and shares less. Root, and the user that the
 * daemon runs as, have no quota: the host, or the daemon, is theirs.
 */
#ifndef PAGEFUSE_DAEMON_QUOTA_H
#define PAGEFUSE_DAEMON_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/*
 * A VM may bring in, and have known, this many times the most anonymous memory and swap that it was seen with, since
 * what it shares is not its own any more; and QUOTA_IN_ANY_CASE_PAGES in any case, as it grows between two looks.
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
	unsigned holders;   /* VMs and domains that are charged to it, and connections that ask */
	unsigned domains;   /* of these */
	uint64_t slots;     /* slots that these have brought in and that are not dead */
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

/** Takes a reference to the account of user @uid. @return NULL without memory. */
struct quota_user *quota_user_get(struct quota *quota, uid_t uid);
/** One holder less. */
void quota_user_put(struct quota_user *user);
/** @slots more, or less. The account goes with its last holder, its last slot and its last page number. */
void quota_user_charge(struct quota_user *user, int64_t slots);

/** Whether all stores together may take one more page. */
bool quota_may_store(const struct quota *quota);
/** Whether user may bring in one more. */
bool quota_user_may_store(const struct quota_user *user);
void quota_numbers_init(struct quota_numbers *numbers, uint64_t count);
/** The domain is gone: nobody has any of its numbers. */
void quota_numbers_done(struct quota_numbers *numbers);
/** @count more for @user, until it gives them back. @return false if they are more than it may have. */
bool quota_numbers_take(struct quota_numbers *numbers, struct quota_user *user, uint64_t count);
void quota_numbers_give(struct quota_numbers *numbers, struct quota_user *user, uint64_t count);

/**
 * Whether a domain may be made for @user, if @left more can be made: a user with as many as that leaves the rest to
 * others.
 */
bool quota_user_may_have_domain(const struct quota_user *user, unsigned left);
/** The new domain is charged to @user, and holds its account as long as it exists. */
void quota_user_take_domain(struct quota_user *user);
void quota_user_give_domain(struct quota_user *user);

/** How many pages of RAM the VMs of @user may have in all; UINT64_MAX: any. */
uint64_t quota_user_ram_pages(const struct quota_user *user);
/**
 * Whether @user, whose VMs have @held bytes of rings, staging memory and maps, may have @more. The first VM always may.
 */
bool quota_user_may_have_rings(const struct quota_user *user, uint64_t held, uint64_t more);
/**
 * How many reports may be taken from the VMs of @user now, at most @most. @ret_usec: if none, when to ask again.
 * quota_user_took() then tells how many were.
 */
unsigned quota_user_reports(struct quota_user *user, unsigned most, uint64_t now_usec, uint64_t *ret_usec);
void quota_user_took(struct quota_user *user, unsigned reports);

/** How many pages a process may bring in, or have known, beyond @base, when at most @own_pages of its own were seen. */
uint64_t quota_times_own(const struct quota *quota, uint64_t own_pages, uint64_t base);

#endif
