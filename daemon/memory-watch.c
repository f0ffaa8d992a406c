/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/memory-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"

#define PRESSURE "/proc/pressure/memory"

/* ---- the state ---- */

uint64_t memory_watch_min_free(const struct memory_watch *watch)
{
	return watch->known ? memory_min_free(&watch->settings.min_free, watch->figures.total_bytes) : 0;
}

uint64_t memory_watch_cover(const struct memory_watch *watch)
{
	return watch->known ? watch->figures.free_bytes + watch->figures.swap_bytes : UINT64_MAX;
}

static void enter(struct memory_watch *watch, enum memory_state state)
{
	const struct memory_figures *figures = &watch->figures;

	log_message(state == MEMORY_LOW ? LOG_WARNING : LOG_NOTICE,
		    "memory is %s from now on, it was %s: %" PRIu64 " MiB of %" PRIu64 " are free, minFree is %" PRIu64
		    "%s",
		    memory_state_name(state), memory_state_name(watch->state), figures->free_bytes >> 20,
		    figures->total_bytes >> 20, memory_watch_min_free(watch) >> 20,
		    clock_now_usec() < watch->stalled_until_usec ? ", and tasks wait for memory" : "");
	watch->state = state;
	watch->since_usec = clock_now_usec();
}

/* Logs once for each problem, and once when it is gone. */
static void say_error(struct memory_watch *watch, const char *error)
{
	if (strcmp(watch->error, error) == 0)
		return;
	if (*error != 0)
		log_warning("cannot tell how much memory is free: %s; the state stays %s", error,
			    memory_state_name(watch->state));
	else
		log_notice("how much memory is free can be told again");
	snprintf(watch->error, sizeof(watch->error), "%s", error);
}

static void read_figures(struct memory_watch *watch)
{
	char error[MEMORY_ERROR_SIZE] = "";
	struct memory_figures figures;
	enum memory_state next;
	enum memory_kind kind;
	bool stalled = clock_now_usec() < watch->stalled_until_usec;

	if (memory_figures_read(watch->settings.source, &figures, &kind, error, sizeof(error)) < 0) {
		say_error(watch, error);
		return;
	}
	say_error(watch, "");
	if (kind == MEMORY_OF_HOST && (!watch->known || kind != watch->kind) &&
	    strcmp(watch->settings.source, MEMORY_SOURCE_HOST) != 0)
		log_notice("%s has no limit of memory below the host's: the host's memory counts",
			   watch->settings.source);
	watch->figures = figures;
	watch->kind = kind;
	watch->known = true;
	next = memory_state_next(watch->state, &watch->settings.thresholds, memory_watch_min_free(watch),
				 figures.free_bytes, stalled);
	if (next != watch->state)
		enter(watch, next);
}

/* Whether it has been high for long enough; never while there are no figures. */
static bool is_plentiful(const struct memory_watch *watch)
{
	uint64_t usec = watch->settings.back_seconds * UINT64_C(1000000);

	return usec != 0 && watch->state == MEMORY_HIGH && watch->known && *watch->error == 0 &&
	       clock_now_usec() - watch->since_usec >= usec;
}

static void look(struct memory_watch *watch)
{
	enum memory_state state = watch->state;
	bool plentiful = watch->plentiful;

	read_figures(watch);
	watch->plentiful = is_plentiful(watch);
	if (watch->state != state || watch->plentiful != plentiful)
		watch->changed(watch->context);
	watch->looked(watch->context);
}

/* For the next look; a stall counts no longer than it should. */
static void set_timer(struct memory_watch *watch)
{
	uint64_t now = clock_now_usec(), at = now + watch->settings.interval_msec * UINT64_C(1000);

	if (now < watch->stalled_until_usec && watch->stalled_until_usec < at)
		at = watch->stalled_until_usec;
	(void)sd_event_source_set_time(watch->timer, at);
	(void)sd_event_source_set_enabled(watch->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	struct memory_watch *watch = user;

	(void)source;
	(void)usec;
	look(watch);
	set_timer(watch);
	return 0;
}

/* ---- stalls ---- */

static void stop_stalls(struct memory_watch *watch)
{
	watch->stalls = sd_event_source_disable_unref(watch->stalls);
	if (watch->stalls_fd >= 0)
		close(watch->stalls_fd);
	watch->stalls_fd = -1;
	watch->stalled_until_usec = 0;
}

static int on_stall(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct memory_watch *watch = user;

	(void)source;
	(void)fd;
	if (events & (EPOLLERR | EPOLLHUP)) { /* the cgroup is gone: so says the timer, too */
		stop_stalls(watch);
		return 0;
	}
	watch->stalled_until_usec = clock_now_usec() + MEMORY_STALL_USEC;
	look(watch);
	set_timer(watch);
	return 0;
}

/* Where the kernel reports stalls of the tasks whose memory is watched. @return whether there is such a file. */
static bool pressure_path(const struct memory_watch *watch, char *ret, size_t size)
{
	const char *source = watch->settings.source;
	struct stat st;

	snprintf(ret, size, PRESSURE);
	if (strcmp(source, MEMORY_SOURCE_HOST) == 0)
		return true;
	if (stat(source, &st) < 0 || !S_ISDIR(st.st_mode)) /* figures of nobody knows what */
		return false;
	snprintf(ret, size, "%s/memory.pressure", source);
	if (access(ret, F_OK) < 0) /* version 1 has none, and the root of version 2 has the host's */
		snprintf(ret, size, PRESSURE);
	return true;
}

/* A trigger is its open file. @return 0, -errno. */
static int set_trigger(struct memory_watch *watch, const char *path)
{
	char trigger[64];
	int length = snprintf(trigger, sizeof(trigger), "some %" PRIu32 "000 %u000", watch->settings.stall_msec,
			      MEMORY_STALL_WINDOW_MSEC);
	int r;

	watch->stalls_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (watch->stalls_fd < 0)
		return -errno;
	if (write(watch->stalls_fd, trigger, (size_t)length + 1) < 0)
		return -errno;
	r = sd_event_add_io(watch->event, &watch->stalls, watch->stalls_fd, EPOLLPRI, on_stall, watch);
	return r < 0 ? r : 0;
}

static void start_stalls(struct memory_watch *watch)
{
	char path[MEMORY_SOURCE_SIZE + sizeof("/memory.pressure")];
	int r;

	if (watch->settings.stall_msec == 0 || !pressure_path(watch, path, sizeof(path)))
		return;
	r = set_trigger(watch, path);
	if (r == 0)
		return;
	stop_stalls(watch);
	log_info("%s does not tell when tasks wait for memory: %s; free memory is looked at every %" PRIu32 " ms only",
		 path, strerror(-r), watch->settings.interval_msec);
}

/* ---- start, change, stop ---- */

int memory_watch_start(struct memory_watch *watch, sd_event *event)
{
	int r;

	watch->event = event;
	watch->stalls_fd = -1;
	watch->since_usec = clock_now_usec();
	r = sd_event_add_time(event, &watch->timer, CLOCK_MONOTONIC, UINT64_MAX - 1, 1000, on_timer, watch);
	if (r < 0) {
		log_error("cannot set a timer: %s", strerror(-r));
		return r;
	}
	start_stalls(watch);
	watch->changed(watch->context);
	look(watch);
	set_timer(watch);
	return 0;
}

void memory_watch_change(struct memory_watch *watch, const struct memory_settings *settings)
{
	const struct memory_settings before = watch->settings;

	watch->settings = *settings;
	if (strcmp(before.source, settings->source) != 0)
		watch->known = false;
	if (!watch->known || before.stall_msec != settings->stall_msec) {
		stop_stalls(watch);
		start_stalls(watch);
	}
	look(watch);
	set_timer(watch);
}

void memory_watch_stop(struct memory_watch *watch)
{
	if (watch->event == NULL)
		return;
	stop_stalls(watch);
	watch->timer = sd_event_source_disable_unref(watch->timer);
	watch->event = NULL;
}
