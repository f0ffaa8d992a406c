/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rules.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[RULE_KINDS] = {
	[RULE_USER] = "user", [RULE_GROUP] = "group", [RULE_CGROUP] = "cgroup", [RULE_NAME] = "name"
};

/* ---- from text ---- */

static bool parse_id(const char *text, unsigned *ret)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || *end != 0 || number >= UINT32_MAX)
		return false;
	*ret = (unsigned)number;
	return true;
}

static bool look_up(enum rule_kind kind, const char *text, unsigned *ret)
{
	const struct passwd *user = kind == RULE_USER ? getpwnam(text) : NULL;
	const struct group *group = kind == RULE_GROUP ? getgrnam(text) : NULL;

	if (user)
		*ret = user->pw_uid;
	if (group)
		*ret = group->gr_gid;
	return user || group;
}

static int add(struct rules *rules, const char *domain, enum rule_kind kind, const char *text, char *ret_error,
	       size_t error_size)
{
	struct rule rule = { 0 };
	const char *problem = NULL;

	rule.kind = kind;
	rule.any = strcmp(text, "*") == 0;
	if (rules->count >= RULES_MAX)
		problem = "there are too many patterns";
	else if (strlen(text) >= sizeof(rule.pattern))
		problem = "the pattern is too long";
	else if (kind <= RULE_GROUP && !rule.any && !parse_id(text, &rule.id) && !look_up(kind, text, &rule.id))
		problem = kind == RULE_USER ? "there is no such user; a name, a number or * is needed"
					    : "there is no such group; a name, a number or * is needed";
	if (problem) {
		snprintf(ret_error, error_size, "%s = \"%.64s\": %s", kinds[kind], text, problem);
		return -EINVAL;
	}
	strcpy(rule.domain, domain);
	strcpy(rule.pattern, text);
	rules->list[rules->count++] = rule;
	return 0;
}

static int add_all(struct rules *rules, const char *domain, enum rule_kind kind, const char *value, char *ret_error,
		   size_t error_size)
{
	char *copy = strdup(value), *rest = copy, *text;
	unsigned before = rules->count;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && (text = strsep(&rest, " \t,")) != NULL)
		if (*text != 0)
			r = add(rules, domain, kind, text, ret_error, error_size);
	free(copy);
	if (r == 0 && rules->count == before) {
		snprintf(ret_error, error_size, "%s has no pattern", kinds[kind]);
		r = -EINVAL;
	}
	return r;
}

int rules_add(struct rules *rules, const char *domain, const char *key, const char *value, char *ret_error,
	      size_t error_size)
{
	if (!wire_domain_is_valid(domain)) {
		snprintf(ret_error, error_size,
			 "\"%.64s\" cannot be a domain's name: it has to be of 1 to %d letters, digits, - _ and .",
			 domain, WIRE_DOMAIN_MAX - 1);
		return -EINVAL;
	}
	for (unsigned kind = 0; kind < RULE_KINDS; kind++)
		if (strcmp(key, kinds[kind]) == 0)
			return add_all(rules, domain, kind, value, ret_error, error_size);
	snprintf(ret_error, error_size, "a domain has no \"%.64s\": should be one of user, group, cgroup or name", key);
	return -EINVAL;
}

int rules_check(const struct rules *rules, char *ret_error, size_t error_size)
{
	const struct rule *end = rules->list + rules->count, *other;

	for (const struct rule *rule = rules->list; rule < end; rule++) {
		for (other = rules->list; other < end; other++)
			if (other->kind != RULE_NAME && strcmp(other->domain, rule->domain) == 0)
				break;
		if (other < end)
			continue;
		snprintf(ret_error, error_size,
			 "[domain %s]: everybody can choose a VM's name, so user, group or cgroup is needed, too; "
			 "\"user = *\" lets everybody in",
			 rule->domain);
		return -EINVAL;
	}
	return 0;
}

bool rules_equal(const struct rules *one, const struct rules *other)
{
	bool equal = one->count == other->count;

	for (unsigned i = 0; equal && i < one->count; i++) {
		const struct rule *a = &one->list[i], *b = &other->list[i];

		equal = a->kind == b->kind && a->id == b->id && strcmp(a->domain, b->domain) == 0 &&
			strcmp(a->pattern, b->pattern) == 0;
	}
	return equal;
}

/* ---- at work ---- */

static bool in_group(const struct rules_process *process, unsigned gid)
{
	bool found = process->gid == gid;

	for (unsigned i = 0; i < process->group_count && !found; i++)
		found = process->groups[i] == gid;
	return found;
}

static bool fits(const struct rule *rule, const struct rules_process *process)
{
	switch (rule->kind) {
	case RULE_USER:
		return rule->any || rule->id == process->uid;
	case RULE_GROUP:
		return rule->any || in_group(process, rule->id);
	case RULE_CGROUP:
		return process->cgroup[0] != 0 && fnmatch(rule->pattern, process->cgroup, 0) == 0;
	case RULE_NAME:
		return fnmatch(rule->pattern, process->name, 0) == 0;
	case RULE_KINDS:
		break;
	}
	return false;
}

bool rules_fit(const struct rules *rules, const char *domain, const struct rules_process *process)
{
	bool there[RULE_KINDS] = { 0 }, fit[RULE_KINDS] = { 0 }, any = false;

	for (const struct rule *rule = rules->list; rule < rules->list + rules->count; rule++) {
		if (strcmp(rule->domain, domain) != 0)
			continue;
		any = there[rule->kind] = true;
		fit[rule->kind] |= fits(rule, process);
	}
	for (unsigned kind = 0; kind < RULE_KINDS; kind++)
		any = any && (!there[kind] || fit[kind]);
	return any;
}

const char *rules_first(const struct rules *rules, const struct rules_process *process)
{
	for (const struct rule *rule = rules->list; rule < rules->list + rules->count; rule++)
		if (rules_fit(rules, rule->domain, process))
			return rule->domain;
	return NULL;
}
