/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/pump.h"
#include "daemon/session.h"

uint64_t daemon_now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- the store, as the engine sees it ---- */

static int add_segment(void *context, uint32_t segment)
{
	struct daemon *daemon = context;
	int r = store_add_segment(daemon->store, segment);

	if (r < 0 && daemon->said_room == ENGINE_ROOM) /* else it has been said, and this is one more attempt */
		log_peer(LOG_WARNING, "cannot add segment %u to the store, nothing new is shared for now: %s", segment,
			 strerror(-r));
	return r;
}

static void remove_segment(void *context, uint32_t segment)
{
	struct daemon *daemon = context;

	store_remove_segment(daemon->store, segment);
	session_segment_removed(daemon, segment);
}

static int write_slot(void *context, uint32_t slot, const void *content)
{
	struct daemon *daemon = context;

	return store_write(daemon->store, slot, content);
}

static int read_slot(void *context, uint32_t slot, void *ret_content)
{
	struct daemon *daemon = context;

	return store_read(daemon->store, slot, ret_content);
}

static void punch(void *context, uint32_t first, uint32_t count)
{
	struct daemon *daemon = context;

	store_punch(daemon->store, first, count);
}

/* ---- the pump: reports have come in, orders go out, time goes by ---- */

static void give_orders(struct daemon *daemon)
{
	struct engine_vm *vm;
	uint32_t cursor = 0;

	while ((vm = engine_next_ready(daemon->engine, &cursor)) != NULL) {
		struct session *session = engine_vm_context(vm);

		if (session && !session->failed)
			pump_give_orders(session);
	}
}

/*
 * What was shared stays so; what is new is not shared until there is room. That there is again is said at a @recheck
 * only, since room may come and go.
 */
static void look_for_room(struct daemon *daemon, bool recheck)
{
	enum engine_room room = engine_store_room(daemon->engine);

	if (room == daemon->said_room || (room == ENGINE_ROOM && !recheck))
		return;
	if (room == ENGINE_ROOM_NO_NUMBERS)
		log_warning("each of the store's %u segments has a page in use: nothing new is shared until one has "
			    "none; if it stays so, end VMs or restart them one by one",
			    ENGINE_SEGMENTS_MAX);
	else if (room == ENGINE_ROOM_NO_MEMORY)
		log_warning("the store is full: nothing new is shared until there is room; [store] size is its limit");
	else
		log_notice("the store has room for new pages again");
	daemon->said_room = room;
}

static int on_pump(sd_event_source *source, void *user)
{
	struct daemon *daemon = user;
	uint64_t now = daemon_now_usec(), wait;

	(void)source;
	wait = engine_tick(daemon->engine, now);
	give_orders(daemon);
	look_for_room(daemon, false);
	if (wait > UINT64_MAX - 1 - now)
		wait = UINT64_MAX - 1 - now;
	sd_event_source_set_time(daemon->tick, now + wait);
	sd_event_source_set_enabled(daemon->tick, SD_EVENT_ONESHOT);
	return 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;
	struct session *session;

	(void)source;
	(void)usec;
	LIST_FOREACH(session, &daemon->sessions, entries)
		if (session->has_held)
			session_schedule(session);
	daemon_schedule_pump(daemon);
	return 0;
}

void daemon_schedule_pump(struct daemon *daemon)
{
	if (daemon->pump)
		sd_event_source_set_enabled(daemon->pump, SD_EVENT_ONESHOT);
}

static int on_recheck(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;
	bool more = store_recheck(daemon->store);

	look_for_room(daemon, true);
	sd_event_source_set_time(source, usec + (more ? 1 : DAEMON_RECHECK_SECONDS) * UINT64_C(1000000));
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- processes come and go ---- */

void daemon_process_gone(struct daemon *daemon)
{
	if (!daemon->accounted && daemon->unaccounted == 0) {
		log_info("all that the old store holds is accounted for");
		daemon->accounted = true;
		engine_accounted(daemon->engine);
		daemon_schedule_pump(daemon);
	}
	if (!TAILQ_EMPTY(&daemon->processes))
		return;
	if (daemon->private && daemon->had_process && !daemon->ending)
		log_info("the last VM is gone");
	if (daemon->ending || (daemon->private && daemon->had_process))
		sd_event_exit(daemon->event, 0);
}

static int on_nobody_came(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;

	(void)source;
	(void)usec;
	if (daemon->had_process)
		return 0;
	log_info("no VM has connected for %d seconds", DAEMON_PRIVATE_IDLE_SECONDS);
	return sd_event_exit(daemon->event, 0);
}

/* ---- start and stop ---- */

static int add_sources(struct daemon *daemon)
{
	const uint64_t recheck = DAEMON_RECHECK_SECONDS * UINT64_C(1000000);
	const uint64_t idle = DAEMON_PRIVATE_IDLE_SECONDS * UINT64_C(1000000);
	int r;

	r = sd_event_add_defer(daemon->event, &daemon->pump, on_pump, daemon); /* comes once, and sets the tick */
	if (r >= 0)
		r = sd_event_add_time(daemon->event, &daemon->tick, CLOCK_MONOTONIC, UINT64_MAX - 1, 1000, on_tick,
				      daemon);
	if (r >= 0)
		r = sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, recheck, 0, on_recheck, daemon);
	if (r >= 0 && daemon->private)
		r = sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, idle, 0, on_nobody_came, daemon);
	return r < 0 ? r : 0;
}

static int start_engine(struct daemon *daemon)
{
	const struct engine_store store = {
		.context = daemon,
		.add_segment = add_segment,
		.remove_segment = remove_segment,
		.write = write_slot,
		.read = read_slot,
		.punch = punch,
	};
	uint32_t cursor = 0, segment, segments = 0;
	int r = 0;

	daemon->config.engine.seed = store_seed(daemon->store);
	if (getrandom(daemon->config.engine.secret, sizeof(daemon->config.engine.secret), 0) !=
	    sizeof(daemon->config.engine.secret))
		return -EIO;
	daemon->engine = engine_new(&daemon->config.engine, &store);
	if (daemon->engine == NULL)
		return -ENOMEM;
	daemon->accounted = true;
	while (r == 0 && store_next_segment(daemon->store, &cursor, &segment)) {
		r = engine_old_segment(daemon->engine, segment);
		daemon->accounted = false;
		segments++;
	}
	if (r == 0)
		r = process_adopt_all(daemon);
	if (r == 0 && !daemon->accounted) {
		log_notice(
			"found the store of an earlier daemon: %u segments; waiting for %u processes that may map it",
			segments, daemon->unaccounted);
		daemon_process_gone(daemon);
	}
	return r;
}

int daemon_start(struct daemon *daemon)
{
	char directory[sizeof(daemon->socket_path) + sizeof(".store")];
	int r;

	LIST_INIT(&daemon->sessions);
	TAILQ_INIT(&daemon->processes);
	daemon->started_usec = daemon_now_usec();
	daemon->userfaultfd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (daemon->userfaultfd < 0)
		log_warning(
			"cannot open /dev/userfaultfd (%s): only VMMs that may use userfaultfd by themselves can share",
			strerror(errno));
	snprintf(directory, sizeof(directory), "%s.store", daemon->socket_path);
	r = store_open(directory, &daemon->config.store, &daemon->store);
	if (r < 0)
		return r;
	r = start_engine(daemon);
	if (r == 0)
		r = add_sources(daemon);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	return r;
}

/* First of all the socket: who connects from here on shall find no daemon. */
static void stop_serving(struct daemon *daemon)
{
	if (daemon->listener)
		unlink(daemon->socket_path);
	daemon->listener = sd_event_source_disable_unref(daemon->listener);
	while (!LIST_EMPTY(&daemon->sessions))
		session_free(LIST_FIRST(&daemon->sessions));
}

static int on_waited_enough(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;

	(void)source;
	(void)usec;
	return sd_event_exit(daemon->event, 0);
}

static bool wait_for_dying(struct daemon *daemon)
{
	const uint64_t usec = DAEMON_END_SECONDS * UINT64_C(1000000);

	if (!store_outlives_daemon(daemon->store))
		return false;
	process_forget_living(daemon);
	if (TAILQ_EMPTY(&daemon->processes))
		return false;
	log_info("waiting for what VMs that are dying still map");
	return sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, usec, 0, on_waited_enough, daemon) >= 0;
}

void daemon_end(struct daemon *daemon)
{
	bool again = daemon->ending;

	daemon->ending = true;
	stop_serving(daemon);
	if (again || !wait_for_dying(daemon))
		sd_event_exit(daemon->event, 0);
}

void daemon_stop(struct daemon *daemon)
{
	stop_serving(daemon);
	while (!TAILQ_EMPTY(&daemon->processes))
		process_free(TAILQ_FIRST(&daemon->processes));
	daemon->pump = sd_event_source_disable_unref(daemon->pump);
	daemon->tick = sd_event_source_disable_unref(daemon->tick);
	engine_free(daemon->engine);
	if (daemon->store && store_close(daemon->store))
		log_notice("VMs still map the store: it stays at %s.store for the next daemon", daemon->socket_path);
	if (daemon->userfaultfd >= 0)
		close(daemon->userfaultfd);
}
