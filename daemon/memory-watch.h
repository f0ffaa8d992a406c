/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches how much memory is free: reads figures on a timer, and in between when the kernel says that tasks wait for
 * memory (PSI). Keeps the state, and calls back when it changes. While figures cannot be read, or are impossible, the
 * state stays as it is, which is logged once.
 */
#ifndef PAGEFUSE_DAEMON_MEMORY_WATCH_H
#define PAGEFUSE_DAEMON_MEMORY_WATCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "daemon/memory-figures.h"
#include "daemon/memory-state.h"

#define MEMORY_SOURCE_SIZE 256
#define MEMORY_STALL_WINDOW_MSEC 2000 /* which the kernel asks of users that are not root */
#define MEMORY_STALL_USEC UINT64_C(10000000)
#define MEMORY_ERROR_SIZE (MEMORY_SOURCE_SIZE + 128)

struct memory_settings {
	char source[MEMORY_SOURCE_SIZE]; /* for memory_figures_read() */
	struct memory_least min_free;
	char min_free_text[32]; /* as it was written */
	struct memory_thresholds thresholds;
	uint32_t interval_msec;
	uint32_t stall_msec;   /* in MEMORY_STALL_WINDOW_MSEC; 0: stalls do not count */
	uint32_t back_seconds; /* memory is plentiful when it was high for so long; 0: never */
};

struct memory_watch {
	struct memory_settings settings;
	void (*changed)(void *context); /* state, or plentiful; also called by memory_watch_start() */
	void (*looked)(void *context);  /* whether or not there were new figures */
	void *context;

	enum memory_state state;
	uint64_t since_usec; /* when that began, by clock_now_usec() */
	bool plentiful;      /* it has been high for a while, as far as is known */
	bool known;          /* there were figures, with this source */
	struct memory_figures figures;
	enum memory_kind kind;
	uint64_t stalled_until_usec;
	char error[MEMORY_ERROR_SIZE]; /* why there are no new figures; empty: there are */

	sd_event *event;
	sd_event_source *timer, *stalls; /* stalls NULL: the kernel does not tell */
	int stalls_fd;                   /* -1: none */
};

/**
 * Begins to watch, in @event, with @watch->settings, changed, looked and context set and all else zero. A source that
 * does not work is logged and not used. @return 0, -errno: no timer.
 */
int memory_watch_start(struct memory_watch *watch, sd_event *event);
/** Goes on with @settings. */
void memory_watch_change(struct memory_watch *watch, const struct memory_settings *settings);
void memory_watch_stop(struct memory_watch *watch);

/** minFree now; 0 if there were no figures. */
uint64_t memory_watch_min_free(const struct memory_watch *watch);
/** Memory and swap that were free at the last look, bytes; UINT64_MAX if there were no figures. */
uint64_t memory_watch_cover(const struct memory_watch *watch);

#endif
