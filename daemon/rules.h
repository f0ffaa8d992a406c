/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processes the settings put into, or allow in, which domain. Plain data and comparisons: the caller passes in
 * what it knows of the process.
 *
 * A section [domain NAME] has lists of patterns by user, group, cgroup and name of the VM. A process fits if, for each
 * list that the section has, one pattern fits.
 */
#ifndef PAGEFUSE_DAEMON_RULES_H
#define PAGEFUSE_DAEMON_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/wire.h"

#define RULES_MAX 256 /* patterns of all domains */
#define RULES_PATTERN_SIZE 128

enum rule_kind {
	RULE_USER,
	RULE_GROUP,
	RULE_CGROUP,
	RULE_NAME,
	RULE_KINDS
};

struct rule {
	char domain[WIRE_DOMAIN_MAX];
	enum rule_kind kind;
	bool any;    /* user or group: "*" */
	unsigned id; /* user or group */
	char pattern[RULES_PATTERN_SIZE];
};

/** In the order of the file. */
struct rules {
	unsigned count;
	struct rule list[RULES_MAX];
};

/** What is known of a process. */
struct rules_process {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary */
	unsigned group_count;
	const char *cgroup; /* path, as the daemon sees it; "" if it is not known */
	const char *name;   /* of its VM, in its own words */
};

/**
 * Adds the patterns of a line "@key = @value" in the section of domain @domain. Users and groups are looked up now.
 * @ret_error: one line for a person, if the result is not 0. @return 0 or -EINVAL.
 */
int rules_add(struct rules *rules, const char *domain, const char *key, const char *value, char *ret_error,
	      size_t error_size);
/**
 * To be called when all have been added. @return 0, or -EINVAL: a domain has patterns of VM names only, and a process
 * chooses its VM's name itself.
 */
int rules_check(const struct rules *rules, char *ret_error, size_t error_size);

bool rules_equal(const struct rules *one, const struct rules *other);

/** Whether @process fits the rules of @domain; false if there are none. */
bool rules_fit(const struct rules *rules, const char *domain, const struct rules_process *process);
/** @return the first domain whose rules @process fits, or NULL. */
const char *rules_first(const struct rules *rules, const struct rules_process *process);

#endif
