/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t length_of(uint8_t first)
{
	if (first < 0x80)
		return 1;
	return first < 0xc2 ? 0 : first < 0xe0 ? 2
			  : first < 0xf0       ? 3
			  : first < 0xf5       ? 4
					       : 0;
}

size_t utf8_next(const char *text, uint32_t *ret_character)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *bytes = (const uint8_t *)text;
	size_t length = length_of(bytes[0]);
	uint32_t character = length > 1 ? bytes[0] & (0x7fU >> length) : bytes[0];

	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80) { /* the end, too */
			length = 0;
			break;
		}
		character = character << 6 | (bytes[i] & 0x3f);
	}
	if (length > 0 && (character < least[length] || character > 0x10ffff ||
			   (character >= 0xd800 && character < 0xe000)))
		length = 0;
	*ret_character = length > 0 ? character : bytes[0];
	return length;
}

char *utf8_clean(const char *text)
{
	char *clean = malloc(4 * strlen(text) + 1), *to = clean;

	while (clean && *text) {
		uint32_t character;
		size_t length = utf8_next(text, &character);

		if (length == 0)
			to += sprintf(to, "\\x%02x", character);
		else
			to = mempcpy(to, text, length);
		text += length > 0 ? length : 1;
	}
	if (clean)
		*to = '\0';
	return clean;
}
