/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent's settings and the file that changes them. All are in one table, config.c, from which the file is read,
 * errors and `pagefuse-agent --help` are made, and with which a test compares agent.conf(5).
 */
#ifndef PAGEFUSE_AGENT_CONFIG_H
#define PAGEFUSE_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_PATH "/etc/pagefuse/agent.conf"
#define CONFIG_PATHS_MAX 32       /* in a list of paths */
#define CONFIG_PATH_BYTES_MAX 256 /* of a path in a setting, terminating zero included */

struct config_paths {
	unsigned count;
	char paths[CONFIG_PATHS_MAX][CONFIG_PATH_BYTES_MAX]; /* absolute, without a slash at the end */
};

struct config {
	struct config_paths roots, excludes;
	uint32_t has_kernel, has_programs, has_files; /* 0 or 1 */
	uint32_t interval_seconds;
	uint32_t cpu_permille;
	uint32_t held_pages;
	uint32_t hold_seconds;
};

/** The defaults of the table. */
void config_default(struct config *config);

/**
 * Applies the file at @path to @config; @path NULL: CONFIG_PATH, which need not exist. A bad line is an error: nothing
 * is guessed, and @config is to be thrown away then. @ret_error: one line for a person if the result is not 0.
 * @return 0, -EINVAL (content), -errno (cannot be read).
 */
int config_read(struct config *config, const char *path, char *ret_error, size_t error_size);

/** Whether @path is one of @paths, or below one. */
bool config_has_path(const struct config_paths *paths, const char *path);

/** Writes the table for a person: names, defaults, help texts, ranges. */
void config_describe(FILE *file);

#endif
