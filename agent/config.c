/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"

#define LINE_BYTES_MAX 512
#define RANGE_SIZE 128

enum setting_type {
	SETTING_NUMBER, /* uint32_t */
	SETTING_PAGES,  /* uint32_t, kept in pages; in the file a size */
	SETTING_SWITCH, /* uint32_t: yes or no */
	SETTING_PATHS,  /* struct config_paths: may be given several times */
};

struct setting {
	const char *name;
	enum setting_type type;
	size_t place; /* in struct config */
	uint64_t least, most;
	const char *preset; /* of paths: separated by blanks */
	const char *help;
};

#define PLACE(member) offsetof(struct config, member)

static const struct setting settings[] = {
	{ "kernel", SETTING_SWITCH, PLACE(has_kernel),
	  .preset = "yes", .help = "Name the kernel's code and read-only data." },
	{ "programs", SETTING_SWITCH, PLACE(has_programs),
	  .preset = "yes", .help = "Name the programs and libraries that processes have mapped." },
	{ "files", SETTING_SWITCH, PLACE(has_files),
	  .preset = "yes", .help = "Name what is cached of the files below the roots." },
	{ "root", SETTING_PATHS, PLACE(roots),
	  .preset = "/usr /boot /etc /opt /var/lib",
	  .help = "A folder to look for files in. The first one replaces the default." },
	{ "exclude", SETTING_PATHS, PLACE(excludes),
	  .preset = "none", .help = "A file or folder of which nothing is named." },
	{ "interval_seconds", SETTING_NUMBER, PLACE(interval_seconds), .least = 1, .most = 86400,
	  .preset = "60", .help = "Time from one look for what has changed to the next, at least." },
	{ "cpu_permille", SETTING_NUMBER, PLACE(cpu_permille), .least = 1, .most = 1000,
	  .preset = "1", .help = "At most this share of one CPU, in thousandths, for all looks but the first." },
	{ "held_size", SETTING_PAGES, PLACE(held_pages), .least = 1 << 20, .most = 32 << 20,
	  .preset = "1M", .help = "At most so much page cache is kept locked while the host deals with it." },
	{ "hold_seconds", SETTING_NUMBER, PLACE(hold_seconds), .least = 1, .most = 600,
	  .preset = "10", .help = "Page cache is kept locked for no longer, whether the host has answered or not." },
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))

/* What its value has to be, for a person. */
static void describe_range(const struct setting *setting, char ret[RANGE_SIZE])
{
	switch (setting->type) {
	case SETTING_NUMBER:
		snprintf(ret, RANGE_SIZE, "a number from %" PRIu64 " to %" PRIu64, setting->least, setting->most);
		break;
	case SETTING_PAGES:
		snprintf(ret, RANGE_SIZE, "a size from %" PRIu64 "M to %" PRIu64 "M, such as 1536K or 4M",
			 setting->least >> 20, setting->most >> 20);
		break;
	case SETTING_SWITCH:
		snprintf(ret, RANGE_SIZE, "yes or no");
		break;
	case SETTING_PATHS:
		snprintf(ret, RANGE_SIZE, "an absolute path of at most %d bytes; at most %d of them",
			 CONFIG_PATH_BYTES_MAX - 1, CONFIG_PATHS_MAX);
		break;
	}
}

/* ---- from text ---- */

static int parse_number(const char *text, uint64_t *ret, const char **ret_rest)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	*ret_rest = end;
	return 0;
}

static int set_number(const struct setting *setting, uint32_t *ret, const char *text)
{
	const char *rest;
	uint64_t number;

	if (parse_number(text, &number, &rest) < 0 || *rest != 0 || number < setting->least || number > setting->most)
		return -EINVAL;
	*ret = (uint32_t)number;
	return 0;
}

/* Bytes, or with K or M for the powers of 1024. */
static int set_pages(const struct setting *setting, uint32_t *ret, const char *text)
{
	const char *rest;
	uint64_t bytes, unit = 1;

	if (parse_number(text, &bytes, &rest) < 0)
		return -EINVAL;
	if (*rest != 0) {
		unit = toupper((unsigned char)*rest) == 'K' ? 1024 : toupper((unsigned char)*rest) == 'M' ? 1 << 20
													  : 0;
		if (unit == 0 || rest[1] != 0)
			return -EINVAL;
	}
	if (bytes > setting->most / unit || bytes * unit < setting->least)
		return -EINVAL;
	*ret = (uint32_t)(bytes * unit / PAGE_BYTES);
	return 0;
}

static int set_switch(uint32_t *ret, const char *text)
{
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return -EINVAL;
	*ret = *text == 'y';
	return 0;
}

static int add_path(struct config_paths *paths, const char *text, size_t bytes)
{
	while (bytes > 1 && text[bytes - 1] == '/')
		bytes--;
	if (bytes == 0 || text[0] != '/' || bytes >= CONFIG_PATH_BYTES_MAX || paths->count == CONFIG_PATHS_MAX)
		return -EINVAL;
	memcpy(paths->paths[paths->count], text, bytes);
	paths->paths[paths->count++][bytes] = 0;
	return 0;
}

/* @return 0, -EINVAL if @text is not what describe_range() says. */
static int set(const struct setting *setting, struct config *config, const char *text)
{
	void *place = (char *)config + setting->place;

	switch (setting->type) {
	case SETTING_NUMBER:
		return set_number(setting, place, text);
	case SETTING_PAGES:
		return set_pages(setting, place, text);
	case SETTING_SWITCH:
		return set_switch(place, text);
	case SETTING_PATHS:
		return add_path(place, text, strlen(text));
	}
	return -EINVAL;
}

static void set_preset_paths(struct config_paths *paths, const char *preset)
{
	paths->count = 0;
	if (*preset != '/')
		return;
	for (const char *at = preset, *end; *at != 0; at = end + (*end == ' ')) {
		end = strchrnul(at, ' ');
		if (add_path(paths, at, (size_t)(end - at)) < 0)
			assert(!"the table's own paths are right");
	}
}

void config_default(struct config *config)
{
	memset(config, 0, sizeof(*config));
	for (const struct setting *setting = settings; setting < settings + SETTINGS; setting++) {
		if (setting->type == SETTING_PATHS)
			set_preset_paths((void *)((char *)config + setting->place), setting->preset);
		else if (set(setting, config, setting->preset) < 0)
			assert(!"the table's own values are within their ranges");
	}
}

/* ---- the file ---- */

struct reading {
	struct config *config;
	bool was_set[SETTINGS];
	char *error; /* with room for @error_size */
	size_t error_size;
};

/* Without blanks at either end, in place. */
static char *trimmed(char *text)
{
	size_t bytes;

	text += strspn(text, " \t");
	bytes = strlen(text);
	while (bytes > 0 && strchr(" \t\r\n", text[bytes - 1]))
		bytes--;
	text[bytes] = 0;
	return text;
}

static int on_setting(struct reading *reading, const char *name, const char *value)
{
	const struct setting *setting = settings;
	char range[RANGE_SIZE];

	while (setting < settings + SETTINGS && strcmp(setting->name, name) != 0)
		setting++;
	if (setting == settings + SETTINGS) {
		snprintf(reading->error, reading->error_size, "there is no setting \"%s\"", name);
		return -EINVAL;
	}
	if (setting->type == SETTING_PATHS && !reading->was_set[setting - settings])
		((struct config_paths *)((char *)reading->config + setting->place))->count = 0;
	reading->was_set[setting - settings] = true;
	if (set(setting, reading->config, value) == 0)
		return 0;
	describe_range(setting, range);
	snprintf(reading->error, reading->error_size, "%s = \"%s\": should be %s", name, value, range);
	return -EINVAL;
}

static int on_line(struct reading *reading, char *line)
{
	char *text = trimmed(line), *equals;

	if (*text == 0 || *text == '#' || *text == ';')
		return 0;
	equals = strchr(text, '=');
	if (equals == NULL || equals == text) {
		snprintf(reading->error, reading->error_size, "\"%.60s\": not of the form \"name = value\"", text);
		return -EINVAL;
	}
	*equals = 0;
	return on_setting(reading, trimmed(text), trimmed(equals + 1));
}

int config_read(struct config *config, const char *path, char *ret_error, size_t error_size)
{
	char line[LINE_BYTES_MAX], error[CONFIG_PATH_BYTES_MAX + 2 * RANGE_SIZE + LINE_BYTES_MAX] = "";
	struct reading reading = { .config = config, .error = error, .error_size = sizeof(error) };
	const char *name = path ? path : CONFIG_PATH;
	FILE *file = fopen(name, "re");
	unsigned number = 0;
	int r = 0;

	if (file == NULL && path == NULL && errno == ENOENT)
		return 0;
	if (file == NULL) {
		r = -errno;
		snprintf(ret_error, error_size, "cannot read the settings in %s: %s", name, strerror(-r));
		return r;
	}
	errno = 0;
	while (r == 0 && fgets(line, sizeof(line), file) != NULL) {
		number++;
		if (strlen(line) == sizeof(line) - 1 && line[sizeof(line) - 2] != '\n') {
			snprintf(error, sizeof(error), "longer than %d bytes", LINE_BYTES_MAX - 2);
			r = -EINVAL;
		} else {
			r = on_line(&reading, line);
		}
	}
	if (r < 0) {
		snprintf(ret_error, error_size, "%s:%u: %s", name, number, error);
	} else if (ferror(file)) { /* such as of a directory: what was not read is not missing */
		r = errno ? -errno : -EIO;
		snprintf(ret_error, error_size, "cannot read the settings in %s: %s", name, strerror(-r));
	}
	fclose(file);
	return r;
}

bool config_has_path(const struct config_paths *paths, const char *path)
{
	for (unsigned i = 0; i < paths->count; i++) {
		size_t bytes = strlen(paths->paths[i]);

		if (strncmp(path, paths->paths[i], bytes) == 0 &&
		    (path[bytes] == 0 || path[bytes] == '/' || bytes == 1))
			return true;
	}
	return false;
}

void config_describe(FILE *file)
{
	char range[RANGE_SIZE];

	for (const struct setting *setting = settings; setting < settings + SETTINGS; setting++) {
		describe_range(setting, range);
		fprintf(file, "  %s = %s\n      %s\n      %c%s.\n", setting->name, setting->preset, setting->help,
			toupper((unsigned char)range[0]), range + 1);
	}
}
