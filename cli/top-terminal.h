/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terminal of `pagefuse top`: taken over by curses, and given back whatever ends the program, but for SIGKILL and
 * crashes. Signals are blocked except in terminal_wait(), so that no handler meets curses at work.
 */
#ifndef PAGEFUSE_CLI_TOP_TERMINAL_H
#define PAGEFUSE_CLI_TOP_TERMINAL_H

#include <poll.h>
#include <stdint.h>

/** What emphasis means; without colours they are bold. Attributes of curses. */
enum terminal_colour {
	COLOUR_WARNING = 1,
	COLOUR_ALARM,
};

/** Whether there is one, with what curses needs. @return enum cli_exit, having complained. */
int terminal_check(void);
/** Takes it over. @return the same. */
int terminal_open(void);
/** Gives it back. If a signal has ended the program it ends by that here. */
void terminal_close(void);

/** The attribute of curses for @colour. */
unsigned terminal_attribute(enum terminal_colour colour);

/**
 * Waits for descriptors, at most until @deadline_msec of the monotonic clock, or for a signal. Follows the terminal's
 * size, and stops as SIGTSTP says. @return 0: look again what there is to do; -EINTR: the program is to end; -errno.
 */
int terminal_wait(struct pollfd *fds, unsigned count, int64_t deadline_msec);

/** The monotonic clock. */
int64_t terminal_now_msec(void);

#endif
