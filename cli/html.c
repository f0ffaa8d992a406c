/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/html.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/utf8.h"

/*
 * Controls, and of the format characters those that reorder, join or hide what stands beside them; what XML has not;
 * and private ones, of which each font has its own.
 */
static bool is_hidden(uint32_t character)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x00, 0x1f },
		{ 0x7f, 0x9f },
		{ 0xad, 0xad },
		{ 0x61c, 0x61c },
		{ 0x180b, 0x180f },
		{ 0x200b, 0x200f },
		{ 0x2028, 0x202e },
		{ 0x2060, 0x206f },
		{ 0xe000, 0xf8ff },
		{ 0xfe00, 0xfe0f },
		{ 0xfeff, 0xfeff },
		{ 0xfff0, 0xffff },
		{ 0xe0000, 0x10ffff },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (character >= ranges[i].first && character <= ranges[i].last)
			return true;
	return (character & 0xfffe) == 0xfffe;
}

static void put_character(FILE *out, const char *bytes, size_t length, uint32_t character)
{
	if (length == 0)
		fprintf(out, "\\x%02x", character);
	else if (is_hidden(character))
		fprintf(out, "\\u%04x", character);
	else if (character == '<')
		fputs("&lt;", out);
	else if (character == '>')
		fputs("&gt;", out);
	else if (character == '&')
		fputs("&amp;", out);
	else if (character == '"')
		fputs("&quot;", out);
	else if (character == '\'')
		fputs("&#39;", out);
	else
		fwrite(bytes, 1, length, out);
}

void html_text(FILE *out, const char *text)
{
	while (*text) {
		uint32_t character;
		size_t length = utf8_next(text, &character);

		put_character(out, text, length, character);
		text += length > 0 ? length : 1;
	}
}

/* Behind a '%'. @return its last letter. */
static const char *put(FILE *out, const char *format, va_list *arguments)
{
	switch (*format) {
	case 's':
		html_text(out, va_arg(*arguments, const char *));
		return format;
	case 'd':
		fprintf(out, "%d", va_arg(*arguments, int));
		return format;
	case 'u':
		fprintf(out, "%u", va_arg(*arguments, unsigned));
		return format;
	case 'z':
		assert(format[1] == 'u');
		fprintf(out, "%zu", va_arg(*arguments, size_t));
		return format + 1;
	case 'l':
		assert(format[1] == 'd');
		fprintf(out, "%ld", va_arg(*arguments, long));
		return format + 1;
	case '.':
		assert(format[1] >= '0' && format[1] <= '9' && format[2] == 'f');
		fprintf(out, "%.*f", format[1] - '0', va_arg(*arguments, double));
		return format + 2;
	default:
		assert(*format == '%');
		fputc('%', out);
		return format;
	}
}

void html_printf(FILE *out, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	for (; *format; format++) {
		if (*format == '%')
			format = put(out, format + 1, &arguments);
		else
			fputc(*format, out);
	}
	va_end(arguments);
}
