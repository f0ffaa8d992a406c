/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/figures.h"

#include <errno.h>
#include <string.h>

#include "common/number.h"

/* Blanks, a number, and @unit; then the line or the text ends. */
static int parse_number(const char *text, const char *unit, uint64_t *ret)
{
	uint64_t number;
	const char *end;

	text += strspn(text, " \t");
	if (number_parse(text, &number, &end) < 0 || strncmp(end, unit, strlen(unit)) != 0)
		return -EINVAL;
	end += strlen(unit);
	if (*end != 0 && *end != '\n')
		return -EINVAL;
	*ret = number;
	return 0;
}

/* What follows @key in the line that begins with it. */
static const char *find_line(const char *text, const char *key)
{
	size_t length = strlen(key);

	while (text != NULL && *text != 0) {
		if (strncmp(text, key, length) == 0)
			return text + length;
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return NULL;
}

int figures_bytes(const char *text, const char *key, uint64_t *ret)
{
	const char *value = find_line(text, key);
	uint64_t kib;

	if (value == NULL || *value != ':')
		return -ENOENT;
	if (parse_number(value + 1, " kB", &kib) < 0 || kib > UINT64_MAX / 1024)
		return -EINVAL;
	*ret = kib * 1024;
	return 0;
}

int figures_count(const char *text, const char *key, uint64_t *ret)
{
	const char *value = find_line(text, key);

	if (value == NULL || (*value != ' ' && *value != ':'))
		return -ENOENT;
	return parse_number(value + 1, "", ret);
}

int figures_number(const char *text, uint64_t *ret)
{
	if (strcmp(text, "max\n") == 0 || strcmp(text, "max") == 0) {
		*ret = UINT64_MAX;
		return 0;
	}
	return parse_number(text, "", ret);
}

static bool read_figure(const char *line, struct figure *figure)
{
	return figures_bytes(line, figure->key, &figure->value) == 0 ||
	       figures_count(line, figure->key, &figure->value) == 0;
}

void figures_read(FILE *file, struct figure *figures, size_t count)
{
	size_t missing = count;
	char line[256]; /* the rest of a longer one, such as Groups of /proc/PID/status, begins with no key */

	while (file != NULL && missing > 0 && fgets(line, sizeof(line), file) != NULL)
		for (size_t i = 0; i < count; i++)
			if (!figures[i].found && read_figure(line, &figures[i])) {
				figures[i].found = true;
				missing--;
			}
	if (file != NULL)
		fclose(file);
}
