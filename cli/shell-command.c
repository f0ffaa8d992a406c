/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/shell-command.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN_IN_SHELLS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:@%+/-"

/** In quotes if it needs them. */
static void put_word(FILE *to, const char *text)
{
	if (*text != '\0' && text[strspn(text, PLAIN_IN_SHELLS)] == '\0') {
		fputs(text, to);
		return;
	}
	fputc('\'', to);
	for (const char *at = text; *at; at++)
		fputs(*at == '\'' ? "'\\''" : (char[]){ *at, '\0' }, to);
	fputc('\'', to);
}

char *shell_command(const char *verb, const char *name, const char *options)
{
	bool like_option = *name == '-';
	char *command = NULL;
	size_t size;
	FILE *to = open_memstream(&command, &size);

	if (to == NULL)
		return NULL;
	fprintf(to, "pagefuse %s ", verb);
	if (like_option)
		fprintf(to, "%s%s-- ", options, *options != '\0' ? " " : "");
	put_word(to, name);
	if (!like_option && *options != '\0')
		fprintf(to, " %s", options);
	if (fclose(to) == 0)
		return command;
	free(command);
	return NULL;
}
