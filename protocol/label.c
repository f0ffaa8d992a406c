/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/label.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the character that begins @text, or 0 if none does that is UTF-8 and may be shown. */
static size_t character_bytes(const uint8_t *text, size_t bytes)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t character = text[0];
	size_t length = character < 0x80 ? 1 : character < 0xc0 ? 0
				       : character < 0xe0       ? 2
				       : character < 0xf0       ? 3
								: 4;

	if (length == 0 || character > 0xf4 || length > bytes)
		return 0;
	if (length > 1)
		character &= 0x7fU >> length;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (text[i] & 0x3f);
	}
	if (character < least[length] || character > 0x10ffff || (character >= 0xd800 && character < 0xe000))
		return 0;
	return character < 0x20 || (character >= 0x7f && character < 0xa0) ? 0 : length;
}

bool label_is_valid(const char *label, size_t bytes)
{
	size_t length;

	if (bytes == 0 || bytes > LABEL_MAX)
		return false;
	for (size_t at = 0; at < bytes; at += length) {
		length = character_bytes((const uint8_t *)label + at, bytes - at);
		if (length == 0)
			return false;
	}
	return true;
}

void label_from(const char *text, char ret[LABEL_MAX + 1])
{
	size_t bytes = strlen(text), cut = 0;

	if (bytes == 0)
		text = "?";
	if (bytes > LABEL_MAX) {
		memcpy(ret, "...", 3);
		cut = 3;
		text += bytes - (LABEL_MAX - cut);
	}
	memcpy(ret + cut, text, strlen(text) + 1);
	/* From the front on, the longest that is right is kept, and the byte after it replaced. */
	bytes = strlen(ret);
	for (size_t at = 0, length; at < bytes; at += length) {
		length = character_bytes((const uint8_t *)ret + at, bytes - at);
		if (length > 0)
			continue;
		ret[at] = '?';
		length = 1;
	}
}
