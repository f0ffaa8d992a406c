/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagefused's settings and the file that changes them. All settings are in one table in config.c. Its names, defaults,
 * ranges and help texts are used to read the file, for error messages and for `pagefused --help`; a test compares them
 * with pagefused.conf(5).
 */
#ifndef PAGEFUSE_DAEMON_CONFIG_H
#define PAGEFUSE_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/access.h"
#include "daemon/exposure.h"
#include "daemon/memory-watch.h"
#include "daemon/quota.h"
#include "daemon/rules.h"
#include "daemon/store.h"
#include "engine/engine.h"

#define CONFIG_PATH "/etc/pagefuse/pagefused.conf"
#define CONFIG_DOMAIN "domain" /* sections "domain NAME" are read into rules */
#define CONFIG_VALUE_SIZE 32   /* of a value as text */
#define CONFIG_TEXT_SIZE 256   /* the same of any setting, paths included */

/** Limits for slow passes over one VM. */
struct scan_budget {
	uint32_t interval_seconds, cpu_percent; /* as in struct engine_settings */
};

struct config {
	struct engine_settings engine;
	struct scan_budget budgets[MEMORY_STATES]; /* that of high, in any state; of the others, what they add to it */
	struct store_settings store;
	struct access_settings access;
	struct quota_settings quota;
	uint32_t connections_per_user;
	unsigned preload_mode; /* enum wire_mode */
	struct memory_settings memory;
	struct exposure_limit exposure;
	unsigned large_scans, large_hints; /* enum engine_large, while memory is high */
	struct rules rules;                /* of domains; not in the table */
};

/** The defaults of the table. */
void config_default(struct config *config);

/**
 * Applies the file at @path to @config. A bad line is an error: nothing is guessed.
 * @ret_error: one line for a person if the result is not 0. @return 0, -EINVAL (content), -errno (cannot be read).
 */
int config_read(struct config *config, const char *path, char *ret_error, size_t error_size);

/**
 * The settings of a daemon that was started with @path: the defaults, changed by that file. @path NULL: CONFIG_PATH,
 * which need not exist. @ret_config is set on success only. @ret_error and @return: as config_read().
 */
int config_load(struct config *ret_config, const char *path, char *ret_error, size_t error_size);

/** Converts a size such as [store] size: *@ret_percent of the memory or, if that is 0, bytes. */
void config_room(const char *text, unsigned *ret_percent, uint64_t *ret_bytes);

/** A setting that differs between two configs. */
struct config_change {
	const char *section, *name;
	char before[CONFIG_TEXT_SIZE], after[CONFIG_TEXT_SIZE];
	bool applied; /* false: counts from the next start on */
};

/**
 * Copies from @wanted the settings that can change while the daemon runs, including the rules of domains, and calls
 * @changed for each setting that differs.
 * @return how many differ.
 */
unsigned config_change(struct config *config, const struct config *wanted,
		       void (*changed)(const struct config_change *change));

/** Writes the table for a person: sections, names, defaults, help texts, ranges. */
void config_describe(FILE *file);

#endif
