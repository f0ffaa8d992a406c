/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/number.h"

enum setting_type {
	SETTING_NUMBER,   /* uint32_t */
	SETTING_SIZE,     /* uint64_t */
	SETTING_ROOM,     /* text: a size or a share of RAM */
	SETTING_WORD,     /* unsigned: place in words */
	SETTING_GROUP,    /* text: a group's name or number, or "*" */
	SETTING_LEAST,    /* struct memory_settings: min_free and min_free_text */
	SETTING_EXPOSURE, /* struct exposure_limit */
	SETTING_SOURCE,   /* text: MEMORY_SOURCE_HOST, or an absolute path */
};

struct setting {
	const char *section, *name;
	enum setting_type type;
	size_t place;             /* in struct config */
	uint64_t least, most;     /* of a number; of a size in bytes, where most 0 is no limit; least: the first word */
	uint64_t unit;            /* of a size: bytes that it is kept in */
	const char *const *words; /* NULL at the end */
	bool running;             /* can be changed while the daemon runs */
	const char *preset;
	const char *help;
};

#define PLACE(member) offsetof(struct config, member)

static const char *const kinds[] = { [STORE_AUTO] = "auto", [STORE_TMPFS] = "tmpfs", [STORE_MEMFD] = "memfd", NULL };
static const char *const askers[] = { [ACCESS_STATUS_GROUP] = "group", [ACCESS_STATUS_ALL] = "all", NULL };

/* In the order of enum wire_mode, of which none is 0. */
static const char *const modes[] = { "", "zero", "full", "hints", "off", NULL };
_Static_assert(WIRE_MODE_ZERO == 1 && WIRE_MODE_FULL == 2 && WIRE_MODE_HINTS == 3 && WIRE_MODE_OFF == 4 &&
		       WIRE_MODE_END == 5,
	       "modes[] is in their order");

static const char *const claims[] = { [QUOTA_CLAIMS_CHECKED] = "checked", [QUOTA_CLAIMS_BELIEVED] = "believed", NULL };

static const struct setting settings[] = {
	{ "scan", "interval_seconds", SETTING_NUMBER, PLACE(budgets[MEMORY_HIGH].interval_seconds), .most = 7 * 86400,
	  .running = true,
	  .preset = "30", .help = "Time for one slow pass over a VM. 0: none but those that pagefuse scan asks for." },
	{ "scan", "audit_interval_seconds", SETTING_NUMBER, PLACE(engine.audit_interval_seconds), .most = 7 * 86400,
	  .running = true,
	  .preset = "5", .help = "How often to look which shared pages have been written since. 0: only with passes." },
	{ "scan", "cpu_percent", SETTING_NUMBER, PLACE(budgets[MEMORY_HIGH].cpu_percent), .least = 1, .most = 100,
	  .running = true,
	  .preset = "10", .help = "At most this share of one core for the slow pass over one VM." },
	{ "scan", "clear_interval_seconds", SETTING_NUMBER, PLACE(budgets[MEMORY_CLEAR].interval_seconds), .least = 1,
	  .most = 7 * 86400, .running = true,
	  .preset = "30", .help = "interval_seconds while memory is clear, if that is less." },
	{ "scan", "clear_cpu_percent", SETTING_NUMBER, PLACE(budgets[MEMORY_CLEAR].cpu_percent), .least = 1,
	  .most = 100, .running = true,
	  .preset = "10", .help = "cpu_percent while memory is clear, if that is more." },
	{ "scan", "soft_interval_seconds", SETTING_NUMBER, PLACE(budgets[MEMORY_SOFT].interval_seconds), .least = 1,
	  .most = 7 * 86400, .running = true,
	  .preset = "15", .help = "interval_seconds while memory is soft, if that is less." },
	{ "scan", "soft_cpu_percent", SETTING_NUMBER, PLACE(budgets[MEMORY_SOFT].cpu_percent), .least = 1,
	  .most = 100, .running = true,
	  .preset = "20", .help = "cpu_percent while memory is soft, if that is more." },
	{ "scan", "hard_interval_seconds", SETTING_NUMBER, PLACE(budgets[MEMORY_HARD].interval_seconds), .least = 1,
	  .most = 7 * 86400, .running = true,
	  .preset = "10", .help = "interval_seconds while memory is hard, if that is less." },
	{ "scan", "hard_cpu_percent", SETTING_NUMBER, PLACE(budgets[MEMORY_HARD].cpu_percent), .least = 1,
	  .most = 100, .running = true,
	  .preset = "30", .help = "cpu_percent while memory is hard, if that is more." },
	{ "scan", "low_interval_seconds", SETTING_NUMBER, PLACE(budgets[MEMORY_LOW].interval_seconds), .least = 1,
	  .most = 7 * 86400, .running = true,
	  .preset = "10", .help = "interval_seconds while memory is low, if that is less." },
	{ "scan", "low_cpu_percent", SETTING_NUMBER, PLACE(budgets[MEMORY_LOW].cpu_percent), .least = 1,
	  .most = 100, .running = true,
	  .preset = "30", .help = "cpu_percent while memory is low, if that is more." },
	{ "store", "kind", SETTING_WORD, PLACE(store.kind), .words = kinds,
	  .preset = "auto", .help = "Where pages are kept. auto: in a tmpfs if it may be mounted, else in memfds." },
	{ "store", "size", SETTING_ROOM, PLACE(store.size), .least = STORE_SIZE_MIN,
	  .preset = "50%", .help = "At most so much memory for the stores of all domains together." },
	{ "limits", "vm_store_size", SETTING_SIZE, PLACE(engine.vm_slots_max), .least = PAGE_BYTES, .unit = PAGE_BYTES,
	  .running = true,
	  .preset = "64G", .help = "At most so much memory may the pages of one VM bring into the store." },
	{ "limits", "vm_ram_size", SETTING_SIZE, PLACE(engine.vm_ram_bytes_max), .least = PAGE_BYTES, .unit = 1,
	  .running = true,
	  .preset = "4T", .help = "So much memory one VM may register. What is beyond is left alone." },
	{ "limits", "connections_per_user", SETTING_NUMBER, PLACE(connections_per_user), .least = 1, .most = 65536,
	  .running = true,
	  .preset = "1024", .help = "At most so many connections of one user, VMs included." },
	{ "limits", "claims", SETTING_WORD, PLACE(quota.claims), .words = claims, .running = true,
	  .preset = "checked",
	  .help = "Whether what a VMM says that it has is held against what the kernel says of its process." },
	{ "limits", "user_ram_percent", SETTING_NUMBER, PLACE(quota.user_ram_percent), .most = 1000000, .running = true,
	  .preset = "400", .help = "So much RAM, in percent of the host's, the VMs of one user may register. 0: any." },
	{ "limits", "user_store_factor", SETTING_NUMBER, PLACE(quota.user_store_factor), .most = 1000000,
	  .running = true,
	  .preset = "8", .help = "One user may have so many times in the stores what is left free there. 0: any." },
	{ "limits", "user_rings_percent", SETTING_NUMBER, PLACE(quota.user_rings_percent), .most = 100,
	  .running = true,
	  .preset = "2", .help = "So much of the host's RAM for rings, staging and maps of one user's VMs. 0: any." },
	{ "limits", "user_reports_per_second", SETTING_NUMBER, PLACE(quota.user_reports_per_second),
	  .most = UINT32_MAX, .running = true,
	  .preset = "2000000", .help = "So many reports, such as hashes, one user's VMs are heard with. 0: any." },
	{ "limits", "user_numbers_factor", SETTING_NUMBER, PLACE(quota.user_numbers_factor), .most = 1000000,
	  .running = true,
	  .preset = "8", .help = "So many times what is free of a domain's 8 TiB one user may have. 0: any." },
	{ "vms", "preload_mode", SETTING_WORD, PLACE(preload_mode), .least = 1, .words = modes, .running = true,
	  .preset = "off",
	  .help = "What is shared of a VM that comes by the preload alone, for which nobody has said it." },
	{ "memory", "source", SETTING_SOURCE, PLACE(memory.source), .running = true,
	  .preset = MEMORY_SOURCE_HOST, .help = "Whose memory decides the state: the host's, or a cgroup's with a "
						"limit." },
	{ "memory", "min_free", SETTING_LEAST, PLACE(memory), .least = PAGE_BYTES, .running = true,
	  .preset = "auto", .help = "minFree. auto: 6% of the first 4 GiB, 4% of the next 8, 2% of 16, 1% of "
				    "the rest." },
	{ "memory", "exposure_max", SETTING_EXPOSURE, PLACE(exposure), .least = PAGE_BYTES,
	  .most = EXPOSURE_PERCENT_MAX, .running = true,
	  .preset = "none", .help = "Nothing new is shared if guests could take more memory by writing all that they "
				    "share." },
	{ "memory", "high_percent", SETTING_NUMBER, PLACE(memory.thresholds.high), .least = 2, .most = 10000,
	  .running = true,
	  .preset = "400", .help = "Above this share of minFree memory is high again." },
	{ "memory", "clear_percent", SETTING_NUMBER, PLACE(memory.thresholds.clear), .least = 1, .most = 10000,
	  .running = true,
	  .preset = "100", .help = "Below this share of minFree memory is clear, and above it clear again." },
	{ "memory", "soft_percent", SETTING_NUMBER, PLACE(memory.thresholds.soft), .least = 1, .most = 10000,
	  .running = true,
	  .preset = "64", .help = "Below this share of minFree memory is soft, and above it soft again." },
	{ "memory", "hard_percent", SETTING_NUMBER, PLACE(memory.thresholds.hard), .least = 1, .most = 10000,
	  .running = true,
	  .preset = "32", .help = "Below this share of minFree memory is hard, and above it hard again." },
	{ "memory", "low_percent", SETTING_NUMBER, PLACE(memory.thresholds.low), .least = 0, .most = 10000,
	  .running = true,
	  .preset = "16", .help = "Below this share of minFree memory is low." },
	{ "memory", "interval_msec", SETTING_NUMBER, PLACE(memory.interval_msec), .least = 100, .most = 600000,
	  .running = true,
	  .preset = "1000", .help = "How often to look how much memory is free." },
	{ "memory", "stall_msec", SETTING_NUMBER, PLACE(memory.stall_msec), .most = MEMORY_STALL_WINDOW_MSEC,
	  .running = true,
	  .preset = "300", .help = "Tasks that wait for memory for so long in 2 s make it soft for 10 s. 0: "
				   "they do not." },
	{ "memory", "large_pages", SETTING_WORD, PLACE(large_scans), .words = engine_large_names, .running = true,
	  .preset = "always", .help = "While memory is high, which 2 MiB pages may be split for what scans find." },
	{ "memory", "large_pages_hints", SETTING_WORD, PLACE(large_hints), .words = engine_large_names, .running = true,
	  .preset = "always", .help = "The same for what hints name." },
	{ "memory", "dense_pages", SETTING_NUMBER, PLACE(engine.dense_pages), .least = 1, .most = ENGINE_BLOCK_PAGES,
	  .running = true,
	  .preset = "128", .help = "A 2 MiB page is dense if so many of its 512 pages would be shared." },
	{ "memory", "large_pages_back_seconds", SETTING_NUMBER, PLACE(memory.back_seconds), .most = 7 * 86400,
	  .running = true,
	  .preset = "600", .help = "After memory has been high for so long, 2 MiB pages that were split are given back "
				   "where nothing is shared any more. 0: never." },
	{ "memory", "large_pages_back_shared", SETTING_NUMBER, PLACE(engine.large_back_pages),
	  .most = ENGINE_BLOCK_PAGES - 1, .running = true,
	  .preset = "0", .help = "And where no more of the 512 pages are shared than this: they get memory of their "
				 "own again." },
	{ "access", "group", SETTING_GROUP, PLACE(access.group),
	  .preset = "pagefuse", .help = "Besides root, members of this group may take part." },
	{ "access", "observers", SETTING_GROUP, PLACE(access.observers),
	  .preset = "pagefuse-observers", .help = "Members of this group who may ask are shown the VMs and domains of "
						  "all users, as root is, but steer none of them." },
	{ "access", "status", SETTING_WORD, PLACE(access.status), .words = askers,
	  .preset = "group", .help = "Who may ask for the status. all: also who may not take part." },
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))

#define RANGE_SIZE 128
#define LEAST_PERCENT_MAX 50u

static void describe_words(const char *const *words, uint64_t first, char ret[RANGE_SIZE])
{
	size_t length = (size_t)snprintf(ret, RANGE_SIZE, "one of %s", words[first]);

	for (uint64_t i = first + 1; words[i] && length < RANGE_SIZE; i++)
		length += (size_t)snprintf(ret + length, RANGE_SIZE - length, "%s%s", words[i + 1] ? ", " : " or ",
					   words[i]);
}

/* What its value has to be, for a person. */
static void describe_range(const struct setting *setting, char ret[RANGE_SIZE])
{
	switch (setting->type) {
	case SETTING_NUMBER:
		snprintf(ret, RANGE_SIZE, "a number from %" PRIu64 " to %" PRIu64, setting->least, setting->most);
		break;
	case SETTING_SIZE:
		snprintf(ret, RANGE_SIZE, "a size of at least %" PRIu64 "K, such as 512M or 64G", setting->least >> 10);
		break;
	case SETTING_ROOM:
		snprintf(ret, RANGE_SIZE,
			 "a size of at least %" PRIu64 "M, such as 16G, or a share of RAM from 1%% to 100%%",
			 setting->least >> 20);
		break;
	case SETTING_WORD:
		describe_words(setting->words, setting->least, ret);
		break;
	case SETTING_GROUP:
		snprintf(ret, RANGE_SIZE, "a group's name or number, or a star for anybody");
		break;
	case SETTING_LEAST:
		snprintf(ret, RANGE_SIZE, "auto, a size of at least %" PRIu64 "K, such as 2G, or a share from 1%% to "
					  "%u%%",
			 setting->least >> 10, LEAST_PERCENT_MAX);
		break;
	case SETTING_EXPOSURE:
		snprintf(ret, RANGE_SIZE,
			 "none, a size of at least %" PRIu64 "K, such as 16G, or a share of what is free, from 1%% to "
			 "%" PRIu64 "%%",
			 setting->least >> 10, setting->most);
		break;
	case SETTING_SOURCE:
		snprintf(ret, RANGE_SIZE, "%s, or the path of a cgroup or file from / on, shorter than %d bytes",
			 MEMORY_SOURCE_HOST, MEMORY_SOURCE_SIZE);
		break;
	}
}

/* ---- from text ---- */

/* Bytes, with K, M, G or T for the powers of 1024. */
static int parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *rest, *unit;
	uint64_t bytes;
	int r = number_parse(text, &bytes, &rest);

	if (r < 0)
		return r;
	if (*rest != 0) {
		unit = strchr(units, toupper((unsigned char)*rest));
		if (unit == NULL || rest[1] != 0 || bytes > UINT64_MAX >> (10 * (unit - units + 1)))
			return -EINVAL;
		bytes <<= 10 * (unit - units + 1);
	}
	*ret = bytes;
	return 0;
}

static int set_number(const struct setting *setting, uint32_t *ret, const char *text)
{
	const char *rest;
	uint64_t number;

	if (number_parse(text, &number, &rest) < 0 || *rest != 0 || number < setting->least || number > setting->most)
		return -EINVAL;
	*ret = (uint32_t)number;
	return 0;
}

static int set_size(const struct setting *setting, uint64_t *ret, const char *text)
{
	uint64_t bytes;

	if (parse_size(text, &bytes) < 0 || bytes < setting->least)
		return -EINVAL;
	*ret = bytes / setting->unit;
	return 0;
}

static int set_room(const struct setting *setting, char *ret, const char *text)
{
	const char *rest;
	uint64_t number;
	int r;

	if (number_parse(text, &number, &rest) == 0 && strcmp(rest, "%") == 0)
		r = number >= 1 && number <= 100 ? 0 : -EINVAL;
	else
		r = parse_size(text, &number) == 0 && number >= setting->least ? 0 : -EINVAL;
	if (r < 0 || strlen(text) >= CONFIG_VALUE_SIZE)
		return -EINVAL;
	strcpy(ret, text);
	return 0;
}

void config_room(const char *text, unsigned *ret_percent, uint64_t *ret_bytes)
{
	const char *rest;
	uint64_t number = 0;

	*ret_percent = 0;
	*ret_bytes = 0;
	if (number_parse(text, &number, &rest) == 0 && strcmp(rest, "%") == 0)
		*ret_percent = (unsigned)number;
	else
		(void)parse_size(text, ret_bytes);
}

_Static_assert(sizeof(((struct store_settings *)NULL)->size) == CONFIG_VALUE_SIZE, "it is kept as it was written");

static int set_word(const struct setting *setting, unsigned *ret, const char *text)
{
	for (unsigned i = (unsigned)setting->least; setting->words[i]; i++)
		if (strcmp(text, setting->words[i]) == 0) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

_Static_assert(ACCESS_GROUP_SIZE == CONFIG_VALUE_SIZE, "it is kept as it was written");

/* Whether the group exists is checked when it is needed. */
static int set_group(char *ret, const char *text)
{
	const char *rest;
	uint64_t number;

	if (*text == 0 || strlen(text) >= ACCESS_GROUP_SIZE)
		return -EINVAL;
	if (isdigit((unsigned char)*text) && (number_parse(text, &number, &rest) < 0 || *rest != 0 ||
					      number >= UINT32_MAX))
		return -EINVAL;
	for (const char *c = text; *c != 0; c++)
		if (!isalnum((unsigned char)*c) && strchr("-_.", *c) == NULL && strcmp(text, "*") != 0)
			return -EINVAL;
	strcpy(ret, text);
	return 0;
}

static int set_least(const struct setting *setting, struct memory_settings *ret, const char *text)
{
	struct memory_least least = { 0 };
	const char *rest;
	uint64_t number;

	if (strlen(text) >= sizeof(ret->min_free_text))
		return -EINVAL;
	if (number_parse(text, &number, &rest) == 0 && strcmp(rest, "%") == 0) {
		if (number < 1 || number > LEAST_PERCENT_MAX)
			return -EINVAL;
		least.percent = (uint32_t)number;
	} else if (strcmp(text, "auto") != 0) {
		if (parse_size(text, &least.bytes) < 0 || least.bytes < setting->least)
			return -EINVAL;
	}
	ret->min_free = least;
	strcpy(ret->min_free_text, text);
	return 0;
}

static int set_exposure(const struct setting *setting, struct exposure_limit *ret, const char *text)
{
	struct exposure_limit limit = { 0 };
	const char *rest;
	uint64_t number;

	if (strlen(text) >= sizeof(limit.text))
		return -EINVAL;
	if (number_parse(text, &number, &rest) == 0 && strcmp(rest, "%") == 0) {
		if (number < 1 || number > setting->most)
			return -EINVAL;
		limit.percent = (uint32_t)number;
	} else if (strcmp(text, "none") != 0) {
		if (parse_size(text, &limit.bytes) < 0 || limit.bytes < setting->least)
			return -EINVAL;
	}
	strcpy(limit.text, text);
	*ret = limit;
	return 0;
}

static int set_source(char *ret, const char *text)
{
	if (strlen(text) >= MEMORY_SOURCE_SIZE || (strcmp(text, MEMORY_SOURCE_HOST) != 0 && *text != '/'))
		return -EINVAL;
	strcpy(ret, text);
	return 0;
}

_Static_assert(MEMORY_SOURCE_SIZE <= CONFIG_TEXT_SIZE, "it can be told as it was written");

/* @return 0, -EINVAL if @text is not what describe_range() says. */
static int set(const struct setting *setting, struct config *config, const char *text)
{
	void *place = (char *)config + setting->place;

	switch (setting->type) {
	case SETTING_NUMBER:
		return set_number(setting, place, text);
	case SETTING_SIZE:
		return set_size(setting, place, text);
	case SETTING_ROOM:
		return set_room(setting, place, text);
	case SETTING_WORD:
		return set_word(setting, place, text);
	case SETTING_GROUP:
		return set_group(place, text);
	case SETTING_LEAST:
		return set_least(setting, place, text);
	case SETTING_EXPOSURE:
		return set_exposure(setting, place, text);
	case SETTING_SOURCE:
		return set_source(place, text);
	}
	return -EINVAL;
}

void config_default(struct config *config)
{
	*config = (struct config){ 0 };
	engine_settings_default(&config->engine);
	for (const struct setting *setting = settings; setting < settings + SETTINGS; setting++) {
		int r = set(setting, config, setting->preset);

		assert(r == 0);
		(void)r;
	}
}

/* ---- the file ---- */

struct reading {
	struct config *config;
	char *error; /* of the first bad line; empty if there is none */
	size_t error_size;
};

static const struct setting *find(const char *section, const char *name)
{
	for (const struct setting *setting = settings; setting < settings + SETTINGS; setting++)
		if (strcmp(setting->section, section) == 0 && strcmp(setting->name, name) == 0)
			return setting;
	return NULL;
}

static int on_rule(struct reading *reading, const char *domain, const char *name, const char *value)
{
	char error[256] = "";

	if (rules_add(&reading->config->rules, domain, name, value, error, sizeof(error)) == 0)
		return 1;
	if (*reading->error == 0)
		snprintf(reading->error, reading->error_size, "%s", error);
	return 0;
}

static int on_setting(void *user, const char *section, const char *name, const char *value)
{
	struct reading *reading = user;
	const struct setting *setting = find(section, name);
	char range[RANGE_SIZE];

	if (strncmp(section, CONFIG_DOMAIN " ", sizeof(CONFIG_DOMAIN)) == 0)
		return on_rule(reading, section + sizeof(CONFIG_DOMAIN), name, value);
	if (setting && set(setting, reading->config, value) == 0)
		return 1;
	if (*reading->error != 0)
		return 0;
	if (setting == NULL) {
		snprintf(reading->error, reading->error_size,
			 "there is no setting \"%s\" in section [%s]; pagefused.conf(5) lists them", name, section);
		return 0;
	}
	describe_range(setting, range);
	snprintf(reading->error, reading->error_size, "%s = \"%s\": should be %s", name, value, range);
	return 0;
}

/* Checks that need more than one line. @return 0, -EINVAL. */
static int check_thresholds(const struct memory_thresholds *percent, char *ret_error, size_t error_size)
{
	const uint32_t all[] = { percent->high, percent->clear, percent->soft, percent->hard, percent->low };
	static const char *const names[] = { "high", "clear", "soft", "hard", "low" };

	for (unsigned i = 1; i < sizeof(all) / sizeof(*all); i++)
		if (all[i] >= all[i - 1]) {
			snprintf(ret_error, error_size,
				 "[memory] %s_percent is %" PRIu32 ", and %s_percent %" PRIu32
				 ": each has to be less than the one before",
				 names[i - 1], all[i - 1], names[i], all[i]);
			return -EINVAL;
		}
	return 0;
}

int config_read(struct config *config, const char *path, char *ret_error, size_t error_size)
{
	char error[256] = "";
	struct reading reading = { .config = config, .error = error, .error_size = sizeof(error) };
	FILE *file = fopen(path, "re");
	int line = 0, code = file ? 0 : errno;

	if (file) {
		errno = 0;
		line = ini_parse_file(file, on_setting, &reading);
		if (ferror(file)) /* it may be a directory: that is not a missing file */
			code = errno ? errno : EIO;
		fclose(file);
	}
	if (code != 0) {
		snprintf(ret_error, error_size, "cannot read the settings in %s: %s", path, strerror(code));
		return -code;
	}
	if (line == 0 && (rules_check(&config->rules, error, sizeof(error)) < 0 ||
			  check_thresholds(&config->memory.thresholds, error, sizeof(error)) < 0)) {
		snprintf(ret_error, error_size, "%s: %s", path, error);
		return -EINVAL;
	}
	if (line == 0)
		return 0;
	if (line < 0)
		snprintf(ret_error, error_size, "cannot read the settings in %s: out of memory", path);
	else
		snprintf(ret_error, error_size, "%s:%d: %s", path, line,
			 *error ? error : "not of the form \"name = value\" or \"[section]\"");
	return line < 0 ? -ENOMEM : -EINVAL;
}

int config_load(struct config *ret_config, const char *path, char *ret_error, size_t error_size)
{
	struct config config;
	int r = 0;

	config_default(&config);
	if (path || access(CONFIG_PATH, F_OK) == 0 || errno != ENOENT)
		r = config_read(&config, path ? path : CONFIG_PATH, ret_error, error_size);
	if (r == 0)
		*ret_config = config;
	return r;
}

/* ---- to text ---- */

static void size_text(uint64_t bytes, char ret[CONFIG_TEXT_SIZE])
{
	static const char units[] = "\0KMGT";
	unsigned unit = 0;

	for (; unit < 4 && bytes > 0 && bytes % 1024 == 0; unit++)
		bytes /= 1024;
	snprintf(ret, CONFIG_TEXT_SIZE, "%" PRIu64 "%.1s", bytes, &units[unit]);
}

static void value_text(const struct setting *setting, const struct config *config, char ret[CONFIG_TEXT_SIZE])
{
	const void *place = (const char *)config + setting->place;

	switch (setting->type) {
	case SETTING_NUMBER:
		snprintf(ret, CONFIG_TEXT_SIZE, "%" PRIu32, *(const uint32_t *)place);
		break;
	case SETTING_SIZE:
		size_text(*(const uint64_t *)place * setting->unit, ret);
		break;
	case SETTING_ROOM:
	case SETTING_GROUP:
	case SETTING_SOURCE:
		snprintf(ret, CONFIG_TEXT_SIZE, "%s", (const char *)place);
		break;
	case SETTING_LEAST:
		snprintf(ret, CONFIG_TEXT_SIZE, "%s", ((const struct memory_settings *)place)->min_free_text);
		break;
	case SETTING_EXPOSURE:
		snprintf(ret, CONFIG_TEXT_SIZE, "%s", ((const struct exposure_limit *)place)->text);
		break;
	case SETTING_WORD:
		snprintf(ret, CONFIG_TEXT_SIZE, "%s", setting->words[*(const unsigned *)place]);
		break;
	}
}

static bool change_rules(struct rules *rules, const struct rules *wanted,
			 void (*changed)(const struct config_change *change))
{
	struct config_change change = { .section = CONFIG_DOMAIN, .name = "patterns", .applied = true };

	if (rules_equal(rules, wanted))
		return false;
	snprintf(change.before, sizeof(change.before), "%u in all", rules->count);
	snprintf(change.after, sizeof(change.after), "%u in all", wanted->count);
	*rules = *wanted;
	changed(&change);
	return true;
}

unsigned config_change(struct config *config, const struct config *wanted,
		       void (*changed)(const struct config_change *change))
{
	unsigned count = 0;

	for (const struct setting *setting = settings; setting < settings + SETTINGS; setting++) {
		struct config_change change = { .section = setting->section, .name = setting->name };

		value_text(setting, config, change.before);
		value_text(setting, wanted, change.after);
		if (strcmp(change.before, change.after) == 0)
			continue;
		change.applied = setting->running && set(setting, config, change.after) == 0;
		changed(&change);
		count++;
	}
	return count + (change_rules(&config->rules, &wanted->rules, changed) ? 1 : 0);
}

void config_describe(FILE *file)
{
	const char *section = "";
	char range[RANGE_SIZE];

	for (const struct setting *setting = settings; setting < settings + SETTINGS; setting++) {
		if (strcmp(section, setting->section) != 0)
			fprintf(file, "  [%s]\n", setting->section);
		section = setting->section;
		describe_range(setting, range);
		fprintf(file, "  %s = %s\n      %s\n      %c%s.%s\n", setting->name, setting->preset, setting->help,
			toupper((unsigned char)range[0]), range + 1,
			setting->running ? " SIGHUP changes it." : " Counts from the next start on.");
	}
	fputs("  [" CONFIG_DOMAIN " NAME]\n"
	      "  user, group, cgroup, name: patterns of which VMs are in that domain, or may choose it.\n",
	      file);
}
