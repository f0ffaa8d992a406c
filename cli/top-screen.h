/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The screen of `pagefuse top`, shared by its parts: top-screen.c asks the daemon and waits, top-draw.c draws,
 * top-keys.c takes keys. One thread; top-terminal.h has the terminal.
 */
#ifndef PAGEFUSE_CLI_TOP_SCREEN_H
#define PAGEFUSE_CLI_TOP_SCREEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "cli/client.h"
#include "cli/top.h"

enum page {
	PAGE_TABLE,
	PAGE_HELP,
	PAGE_COLUMNS, /* which are shown */
	PAGE_SORT,    /* by which of them */
};

enum prompt {
	PROMPT_NONE,
	PROMPT_DELAY,
	PROMPT_FILTER,
};

struct top {
	const struct cli *cli;
	struct top_wish wish; /* keys change it */

	/* The daemon. */
	struct client *client; /* NULL: not connected */
	bool asking;           /* a reply is awaited */
	int64_t asked_msec;
	int64_t next_msec; /* when to ask, or try to connect, again */
	unsigned long refreshes;
	char trouble[512]; /* why there are no new figures; "": there are */

	/* What is shown. */
	json_t *status; /* the last document, with rates */
	time_t taken;   /* when it came */
	const json_t **rows;
	size_t rows_count;
	size_t first_row; /* at the top of the table; top_draw() keeps it in bounds */
	size_t page_rows; /* how many the table had room for */

	/* What the person does. */
	enum page page;
	enum prompt prompt;
	char input[TOP_FILTER_SIZE];
	char remark[128]; /* to what was typed; "" */
	bool quit;
};

/** Sorts and chooses anew. Without memory it leaves the rows unchanged and shows an error. */
void top_choose_rows(struct top *top);
/** Has figures fetched now. */
void top_refresh(struct top *top);

/** Draws all of it for the terminal's size. */
void top_draw(struct top *top);

/** @key: of curses. */
void top_key(struct top *top, int key);
/** The letter of @field on the pages that choose one. */
char top_field_letter(enum top_field field);

#endif
