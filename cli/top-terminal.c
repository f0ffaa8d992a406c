/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/top-terminal.h"

#include <errno.h>
#include <ncurses.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

#define ESCAPE_DELAY_MSEC 25 /* within which the rest of a key's sequence has to come */

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static SCREEN *screen;
static sigset_t waiting_mask; /* of signals that stay blocked while waiting */
static sigset_t handled;
static bool coloured;
static volatile sig_atomic_t ended_by, stop_wanted, look_anew;

/* ---- signals ---- */

static void on_ending(int number)
{
	ended_by = number;
}

static void on_stop(int number)
{
	(void)number;
	stop_wanted = 1;
}

static void on_change(int number)
{
	(void)number;
	look_anew = 1;
}

/** Whoever started this may have a signal ignored, as nohup does: so it stays. */
static void handle(int number, void (*handler)(int number))
{
	struct sigaction action = { .sa_handler = handler }, before;

	sigaction(number, NULL, &before);
	if (before.sa_handler == SIG_IGN)
		return;
	sigaction(number, &action, NULL);
	sigaddset(&handled, number);
}

/* Before curses, which leaves alone what has a handler. */
static void handle_signals(void)
{
	sigemptyset(&handled);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		handle(ending[i], on_ending);
	handle(SIGTSTP, on_stop);
	handle(SIGWINCH, on_change);
	handle(SIGCONT, on_change);
	sigprocmask(SIG_BLOCK, &handled, &waiting_mask);
}

/** The terminal is given back: what has come meanwhile, and what ended the loop, does what it does by default. */
static void leave_signals(void)
{
	struct sigaction preset = { .sa_handler = SIG_DFL };

	for (int number = 1; number < NSIG; number++)
		if (sigismember(&handled, number) == 1)
			sigaction(number, &preset, NULL);
	if (ended_by != 0)
		raise(ended_by);
	sigprocmask(SIG_SETMASK, &waiting_mask, NULL);
}

/** As SIGTSTP does by default. */
static void stop_process(void)
{
	struct sigaction preset = { .sa_handler = SIG_DFL }, ours;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	sigaction(SIGTSTP, &preset, &ours);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* here it stops */
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGTSTP, &ours, NULL);
}

/* ---- the terminal ---- */

/** The terminal is used, and may have been by others meanwhile. */
static void draw_anew(void)
{
	struct winsize size;

	reset_prog_mode();
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0 &&
	    is_term_resized(size.ws_row, size.ws_col))
		resizeterm(size.ws_row, size.ws_col);
	clearok(curscr, TRUE);
}

static void stop(void)
{
	endwin();
	stop_process();
	draw_anew();
}

static bool terminal_can(const char *capability)
{
	const char *sequence = tigetstr(capability);

	return sequence != NULL && sequence != (char *)-1; /* not there; no string */
}

/** What curses needs of a terminal at least. */
static bool terminal_is_able(const char *name)
{
	int found;
	bool able;

	if (setupterm(name, STDOUT_FILENO, &found) != OK)
		return false;
	able = terminal_can("cup") && terminal_can("clear");
	del_curterm(cur_term);
	return able;
}

static void start_colours(void)
{
	const char *no_color = getenv("NO_COLOR");

	if ((no_color != NULL && no_color[0] != '\0') || !has_colors() || start_color() != OK)
		return;
	coloured = use_default_colors() == OK && init_pair(COLOUR_WARNING, COLOR_YELLOW, -1) == OK &&
		   init_pair(COLOUR_ALARM, COLOR_RED, -1) == OK;
}

int terminal_check(void)
{
	const char *name = getenv("TERM");

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		complain("top: standard %s is no terminal; use `pagefuse top --batch`, or `pagefuse status --watch 2`",
			 isatty(STDOUT_FILENO) ? "input" : "output");
		return CLI_FAILED;
	}
	if (name == NULL || name[0] == '\0' || !terminal_is_able(name)) {
		complain("top: TERM='%s': not known as a terminal whose cursor can be moved; set TERM to what it is, "
			 "or use `pagefuse status --watch 2`",
			 name ? name : "");
		return CLI_FAILED;
	}
	return CLI_DONE;
}

int terminal_open(void)
{
	handle_signals();
	use_env(FALSE); /* of its size the kernel knows, LINES and COLUMNS may be old */
	use_tioctl(TRUE);
	screen = newterm(NULL, stdout, stdin);
	if (screen == NULL) {
		complain("top: curses cannot use the terminal that TERM is; use `pagefuse status --watch 2`");
		return CLI_FAILED;
	}
	set_escdelay(ESCAPE_DELAY_MSEC);
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	start_colours();
	return CLI_DONE;
}

void terminal_close(void)
{
	endwin();
	delscreen(screen);
	screen = NULL;
	fflush(stdout);
	leave_signals();
}

unsigned terminal_attribute(enum terminal_colour colour)
{
	return coloured ? A_BOLD | (unsigned)COLOR_PAIR(colour) : A_BOLD;
}

/* ---- waiting ---- */

int64_t terminal_now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int terminal_wait(struct pollfd *fds, unsigned count, int64_t deadline_msec)
{
	int64_t left = deadline_msec - terminal_now_msec();
	struct timespec time = { 0 };

	if (left > 0)
		time = (struct timespec){ .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };
	if (ppoll(fds, count, &time, &waiting_mask) < 0) {
		for (unsigned i = 0; i < count; i++)
			fds[i].revents = 0;
		if (errno != EINTR)
			return -errno;
	}
	if (ended_by != 0)
		return -EINTR;
	if (stop_wanted) {
		stop_wanted = 0;
		stop();
	}
	if (look_anew) {
		look_anew = 0;
		draw_anew();
	}
	return 0;
}
