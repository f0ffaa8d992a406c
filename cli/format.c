/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/format.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/page.h"

/** Prints @value with as many decimals as make three digits. */
static const char *three_digits(struct format_buffer *buffer, double value, const char *unit)
{
	double size = value < 0 ? -value : value;
	int decimals = size < 9.995 ? 2 : size < 99.95 ? 1
						       : 0;

	if (value == (double)(int64_t)value)
		decimals = 0;
	snprintf(buffer->text, sizeof(buffer->text), "%.*f%s", decimals, value, unit);
	return buffer->text;
}

const char *format_bytes(struct format_buffer *buffer, int64_t bytes)
{
	static const char *const units[] = { "", "K", "M", "G", "T", "P", "E" };
	double value = (double)bytes;
	unsigned unit = 0;

	for (; (value >= 1023.5 || value <= -1023.5) && unit < 6; unit++)
		value /= 1024;
	return three_digits(buffer, value, units[unit]);
}

const char *format_size(struct format_buffer *buffer, int64_t bytes)
{
	size_t length = strlen(format_bytes(buffer, bytes));
	char unit = buffer->text[length - 1];

	if (unit >= '0' && unit <= '9')
		strcpy(buffer->text + length, " B");
	else
		snprintf(buffer->text + length - 1, sizeof(buffer->text) - length + 1, " %ciB", unit);
	return buffer->text;
}

const char *format_pages(struct format_buffer *buffer, int64_t pages)
{
	return format_bytes(buffer, pages * (int64_t)PAGE_BYTES);
}

const char *format_seconds(struct format_buffer *buffer, uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		char name, lesser_name;
		uint64_t lesser_seconds;
	} units[] = { { 86400, 'd', 'h', 3600 }, { 3600, 'h', 'm', 60 }, { 60, 'm', 's', 1 } };

	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (seconds < units[i].seconds)
			continue;
		snprintf(buffer->text, sizeof(buffer->text), "%" PRIu64 "%c%02" PRIu64 "%c", seconds / units[i].seconds,
			 units[i].name, seconds % units[i].seconds / units[i].lesser_seconds, units[i].lesser_name);
		return buffer->text;
	}
	snprintf(buffer->text, sizeof(buffer->text), "%" PRIu64 "s", seconds);
	return buffer->text;
}

const char *format_usec(struct format_buffer *buffer, uint64_t usec)
{
	if (usec < 1000)
		return three_digits(buffer, (double)usec, "us");
	if (usec < 1000000)
		return three_digits(buffer, (double)usec / 1e3, "ms");
	return three_digits(buffer, (double)usec / 1e6, "s");
}

const char *format_plain(char *buffer, size_t size, const char *text)
{
	size_t length = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		bool escape = *c < 0x20 || *c > 0x7e || (c[0] == '\\' && c[1] == 'x');

		if (size - length <= (escape ? 4 : 1))
			break;
		if (escape)
			length += (size_t)snprintf(buffer + length, size - length, "\\x%02x", *c);
		else
			buffer[length++] = (char)*c;
	}
	buffer[length] = '\0';
	return buffer;
}

static int64_t divide_rounded(int64_t value, int64_t divisor)
{
	return (value + (value < 0 ? -divisor : divisor) / 2) / divisor;
}

int64_t pages_to_mb(int64_t pages)
{
	return divide_rounded(pages, 256);
}

int64_t bytes_to_mb(int64_t bytes)
{
	return divide_rounded(bytes, 1 << 20);
}
