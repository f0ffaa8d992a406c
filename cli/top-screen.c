/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/top-screen.h"

#include <errno.h>
#include <ncurses.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/top-terminal.h"

/** Between two tries to reach a daemon that has gone, at most. */
#define RETRY_MSEC 1000
#define DEADLINE_MSEC (CLIENT_DEADLINE_SECONDS * INT64_C(1000))

static char complaint[512]; /* the last one, while curses has the terminal */

static void note_complaint(const char *line)
{
	format_plain(complaint, sizeof(complaint), line);
}

void top_choose_rows(struct top *top)
{
	free(top->rows);
	top->rows = NULL;
	top->rows_count = 0;
	if (top_view_rows(&top->wish.view, json_object_get(top->status, "vms"), &top->rows, &top->rows_count) < 0)
		snprintf(top->remark, sizeof(top->remark), "out of memory while sorting VMs; free some");
}

/* ---- the daemon ---- */

/** Takes @status over. */
static void take(struct top *top, json_t *status)
{
	json_t *before = top->status;

	top_rates_add(status, before);
	top->status = status;
	top->taken = time(NULL);
	top->refreshes++;
	top->trouble[0] = '\0';
	top_choose_rows(top);
	json_decref(before);
	top->next_msec = terminal_now_msec() + top->wish.delay_msec;
}

/** There are no new figures, for the reason that was complained about last. */
static void lose(struct top *top)
{
	unsigned msec = top->wish.delay_msec < RETRY_MSEC ? top->wish.delay_msec : RETRY_MSEC;

	client_free(top->client);
	top->client = NULL;
	top->asking = false;
	top->next_msec = terminal_now_msec() + msec;
	snprintf(top->trouble, sizeof(top->trouble), "%s", complaint);
}

static void ask(struct top *top)
{
	if (top->client == NULL && client_open(top->cli, &top->client) != CLI_DONE) {
		top->client = NULL;
		lose(top);
		return;
	}
	if (client_status_begin(top->cli, top->client) != CLI_DONE) {
		lose(top);
		return;
	}
	top->asking = true;
	top->asked_msec = terminal_now_msec();
}

/** The daemon has said something, or goodbye. */
static void hear(struct top *top)
{
	json_t *status;
	int r;

	if (top->asking) {
		r = client_status_end(top->cli, top->client, &status);
	} else { /* it says nothing unasked */
		client_failed(top->cli, -ECONNRESET);
		r = CLI_NO_DAEMON;
	}
	if (r == -EAGAIN)
		return;
	top->asking = false;
	if (r == CLI_DONE)
		take(top, status);
	else
		lose(top);
}

static int64_t due_msec(const struct top *top)
{
	return top->asking ? top->asked_msec + DEADLINE_MSEC : top->next_msec;
}

static void on_time(struct top *top)
{
	if (terminal_now_msec() < due_msec(top))
		return;
	if (!top->asking) {
		ask(top);
		return;
	}
	client_failed(top->cli, -ETIMEDOUT);
	lose(top);
}

void top_refresh(struct top *top)
{
	if (!top->asking)
		top->next_msec = terminal_now_msec();
}

/* ---- the loop ---- */

/** @return false once the terminal is closed. */
static bool take_keys(struct top *top, short revents)
{
	int key;

	if ((revents & POLLIN) != 0)
		while ((key = getch()) != ERR)
			top_key(top, key);
	return (revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

static bool is_over(const struct top *top)
{
	return top->quit || (top->wish.count > 0 && top->refreshes >= top->wish.count);
}

static int loop(struct top *top)
{
	for (;;) {
		struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN } };
		int r;

		top_draw(top);
		if (is_over(top))
			return CLI_DONE;
		fds[1] = (struct pollfd){ .fd = top->client ? client_fd(top->client) : -1, .events = POLLIN };
		r = terminal_wait(fds, 2, due_msec(top));
		if (r == -EINTR)
			return CLI_DONE;
		if (r < 0 || !take_keys(top, fds[0].revents))
			return CLI_FAILED;
		if (fds[1].revents != 0)
			hear(top);
		on_time(top);
	}
}

/** The first figures. If they cannot be had, complains like all commands, and shows no screen. */
static int begin(struct top *top)
{
	json_t *status;
	int r = client_open(top->cli, &top->client);

	if (r == CLI_DONE)
		r = client_status(top->cli, top->client, &status);
	if (r == CLI_DONE)
		take(top, status);
	return r;
}

int top_screen(const struct cli *cli, const struct top_wish *wish)
{
	struct top top = { .cli = cli, .wish = *wish };
	int r = terminal_check();

	if (r == CLI_DONE)
		r = begin(&top);
	if (r == CLI_DONE)
		r = terminal_open();
	if (r == CLI_DONE) {
		complain_to(note_complaint);
		r = loop(&top);
		complain_to(NULL);
		terminal_close();
	}
	client_free(top.client);
	free(top.rows);
	json_decref(top.status);
	return r;
}
