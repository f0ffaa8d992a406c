/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/hint.h"

#include <stdio.h>
#include <string.h>

void hint_label(const char *text, char ret[AGENT_LABEL_MAX + 1])
{
	size_t bytes = strlen(text);

	if (bytes > AGENT_LABEL_MAX)
		snprintf(ret, AGENT_LABEL_MAX + 1, "...%s", text + bytes - (AGENT_LABEL_MAX - 3));
	else
		strcpy(ret, bytes > 0 ? text : "?");
	/* From the front on, the longest that is right is kept, and the byte after it replaced. */
	bytes = strlen(ret);
	for (size_t at = 0; at < bytes;) {
		size_t length = 1;

		while (length <= 4 && at + length <= bytes && !agent_label_is_valid(ret + at, length))
			length++;
		if (length > 4 || at + length > bytes) {
			ret[at] = '?';
			length = 1;
		}
		at += length;
	}
}
