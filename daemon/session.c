/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/pump.h"
#include "daemon/reply.h"
#include "daemon/turn.h"
#include "daemon/vm.h"
#include "protocol/wire.h"

#ifndef SESSIONS_FIRST_COME
#define SESSIONS_FIRST_COME 0 /* whoever comes first may have them all; a test builds with it, to see what that does */
#endif

enum session_kind {
	SESSION_NEW, /* has not said anything */
	SESSION_VMM,
	SESSION_CONTROL,
};

struct session {
	LIST_ENTRY(session) entries;
	struct sessions *sessions;
	enum session_kind kind;
	bool failed;      /* to be freed in its next turn; not used any more until then */
	bool is_outsider; /* may not take part */
	int socket, pidfd;
	struct ucred peer;
	uid_t account; /* that peer.uid is accounted for by, see subuids.h */
	sd_event_source *io, *turn, *rest;
	struct fair_user *payer; /* for its turns */

	/* VMM */
	struct daemon_vm *vm; /* NULL before HELLO */
	struct link link;

	/* CONTROL */
	struct control_answer *answer; /* that is being made, or NULL */
	struct reply *reply;           /* that is to be sent, or NULL */
};

/* One packet at a time is looked at, and there is one thread. */
static _Alignas(8) char packet[WIRE_MESSAGE_MAX];

static const char *describe(const struct session *session)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s%s(pid %d, uid %u)", session->vm ? session->vm->name : "",
		 session->vm ? " " : "", (int)session->peer.pid, (unsigned)session->peer.uid);
	return text;
}

/* ---- ending ---- */

static void free_session(struct session *session)
{
	size_t size;

	if (session->vm) {
		if (session->vm->connection.engine_vm && session->vm->name[0])
			log_event(LOG_INFO, "VM %s left", describe(session));
		daemon_vm_disconnect(session->vm);
	}
	link_done(&session->link);
	sd_event_source_disable_unref(session->io);
	sd_event_source_disable_unref(session->turn);
	sd_event_source_disable_unref(session->rest);
	fair_user_put(session->payer);
	if (session->pidfd >= 0)
		close(session->pidfd);
	close(session->socket);
	free(control_end(session->answer, &size));
	reply_free(&session->reply);
	LIST_REMOVE(session, entries);
	session->sessions->count--;
	free(session);
}

void sessions_end(struct sessions *sessions)
{
	while (!LIST_EMPTY(&sessions->list))
		free_session(LIST_FIRST(&sessions->list));
}

/* For struct daemon_vm_connection: the process is dead, or has connected again. */
static void on_end(void *session)
{
	free_session(session);
}

static struct fair *fair_of(const struct sessions *sessions)
{
	return sessions->admission->domains->fair;
}

/*
 * Sets when the session has its next turn. A session that has not sent anything yet, or only has to be freed, needs
 * little time, so it does not wait for the time that its user's other connections have used: new connections would
 * otherwise wait behind dead ones. Their rate is bounded where connections are accepted.
 */
static void place(const struct session *session)
{
	static const struct fair_share nothing;
	const struct fair *fair = fair_of(session->sessions);
	bool is_short = session->kind == SESSION_NEW || (session->failed && session->vm == NULL);
	const struct fair_share *share = is_short ? &nothing : &session->payer->share;

	fair_place(fair, share, session->io);
	fair_place(fair, share, session->turn);
}

/* Schedules on_turn() to run once more, after the other connections' turns. */
static void schedule(struct session *session)
{
	sd_event_source_set_enabled(session->turn, SD_EVENT_ONESHOT);
}

/* It is freed in its next turn. */
static void end_later(struct session *session)
{
	session->failed = true;
	link_stop(&session->link);
	place(session);
	schedule(session);
}

/* Logs why, and has the session freed in its next turn. */
static void fail(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct session *session, const char *format, ...)
{
	char reason[256];
	va_list list;

	if (session->failed)
		return;
	va_start(list, format);
	vsnprintf(reason, sizeof(reason), format, list);
	va_end(list);
	log_peer(session->account, LOG_WARNING, "dropping the connection of %s: %s", describe(session), reason);
	end_later(session);
}

/* The same, telling the peer why. */
static void refuse(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct session *session, const char *format, ...)
{
	struct {
		struct wire_header header;
		char text[256];
	} message;
	va_list list;
	size_t size;

	va_start(list, format);
	vsnprintf(message.text, sizeof(message.text), format, list);
	va_end(list);
	size = sizeof(message.header) + strlen(message.text);
	wire_header_init(&message.header, WIRE_ERROR, size);
	fail(session, "%s", message.text); /* it is in the log before the peer knows */
	(void)wire_send(session->socket, &message, size, NULL, 0);
}

/* ---- a VMM's messages ---- */

/*
 * @with_features: the client's HELLO had features; a client without them takes no WELCOME longer than that of its
 * release.
 */
static int send_welcome(const struct session *session, bool with_features)
{
	size_t size = with_features ? sizeof(struct wire_welcome) : WIRE_WELCOME_LEAST;
	const struct domain *domain = session->vm->domain;
	int fds[WIRE_FDS_MAX] = { session->link.ring_fd, domain->userfaultfd };
	bool has_userfaultfd = domain->userfaultfd >= 0;
	struct wire_welcome message = {
		.seed = store_seed(domain->store),
		.store = store_identity(domain->store),
		.has_userfaultfd = has_userfaultfd,
		.features = WIRE_FEATURES,
	};

	wire_header_init(&message.header, WIRE_WELCOME, size);
	return wire_send(session->socket, &message, size, fds, has_userfaultfd ? 2 : 1);
}

static void on_link_failed(void *owner, const char *reason)
{
	fail(owner, "%s", reason);
}

/* Waits for room in the socket, too, or no longer. */
static void want_room(void *owner, bool want)
{
	struct session *session = owner;
	/* Reads nothing more from a CLI before it has read its reply. */
	uint32_t events = want ? session->kind == SESSION_CONTROL ? EPOLLOUT : EPOLLIN | EPOLLOUT : EPOLLIN;

	sd_event_source_set_io_events(session->io, events);
}

/* Reads nothing from it, but sees when it closes. */
static void want_nothing(const struct session *session)
{
	sd_event_source_set_io_events(session->io, 0);
}

static int join(struct session *session, struct daemon_vm *vm, const struct wire_hello *hello)
{
	static const struct link_events events = { .failed = on_link_failed, .want_room = want_room };
	struct sessions *sessions = session->sessions;
	struct daemon_vm_connection connection = {
		.link = &session->link,
		.end = on_end,
		.session = session,
		.features = hello->features & WIRE_FEATURES,
		.serial = sessions->last_serial % CONTROL_SERIAL_MAX + 1,
		.may_adopt = hello->store == store_identity(vm->domain->store) && (vm->unaccounted || vm->kept),
	};
	int r = link_init(&session->link, session->socket, &events, session);

	if (r < 0)
		return r;
	sessions->last_serial = connection.serial;
	session->kind = SESSION_VMM;
	session->vm = vm;
	r = daemon_vm_connect(vm, &connection, hello);
	return r < 0 ? r : send_welcome(session, hello->header.length > WIRE_HELLO_LEAST);
}

/* Features that a VMM of another release requires and this daemon does not have. @return whether it was refused. */
static bool refuse_unknown(struct session *session, const struct wire_hello *hello)
{
	uint64_t missing = hello->required & ~WIRE_FEATURES;
	char name[32];

	wire_feature_name(missing, name, sizeof(name));
	if (missing != 0)
		refuse(session,
		       "the library in VM %s needs feature \"%s\", which this pagefused %s lacks: upgrade pagefused, "
		       "or start the VM with the library of this release",
		       hello->name, name, PAGEFUSE_VERSION);
	else if (hello->mode >= WIRE_MODE_END)
		refuse(session, "VM %s asks for mode %u, which this pagefused %s does not know: upgrade pagefused",
		       hello->name, hello->mode, PAGEFUSE_VERSION);
	return session->failed;
}

static struct admission_peer peer_of(const struct session *session)
{
	return (struct admission_peer){
		.credentials = &session->peer,
		.socket = session->socket,
		.pidfd = session->pidfd,
	};
}

/* Rings, staging memory and maps are the daemon's. */
static bool may_have_rings(const struct sessions *sessions, const struct daemon_vm *vm, uint64_t bytes)
{
	const struct session *other;
	uint64_t held = 0;

	LIST_FOREACH(other, &sessions->list, entries)
		if (other->vm && other->vm->user == vm->user)
			held += RING_BYTES + guest_map_bytes(&other->vm->guest_map);
	return quota_user_may_have_rings(vm->user, held, bytes);
}

static void on_hello(struct session *session, const struct wire_hello *hello)
{
	char reason[ADMISSION_REASON_SIZE];
	struct daemon_vm *vm;
	const struct admission_peer peer = peer_of(session);
	int r;

	if (refuse_unknown(session, hello))
		return;
	r = admission_take(session->sessions->admission, &peer, hello, &vm, reason);
	if (r < 0) {
		refuse(session, "%s", reason);
		return;
	}
	if (!may_have_rings(session->sessions, vm, RING_BYTES)) {
		refuse(session, "the VMs of user %u have as many rings as [limits] user_rings_percent allows",
		       (unsigned)vm->uid);
		return;
	}
	if (hello->store == 0 && daemon_vm_begin_anew(vm) < 0) {
		refuse(session, "what it shared before exec is read by a child of it, and has to be given back first");
		return;
	}
	r = join(session, vm, hello);
	if (r < 0) {
		refuse(session, "cannot take in VM %s: %s%s", hello->name, strerror(-r),
		       r == -ENOSPC ? " (too many VMs)" : "");
		return;
	}
	log_event(LOG_INFO, "VM %s joined domain %s, mode %s", describe(session), vm->domain->name,
		  wire_mode_name(hello->mode));
}

static void on_refused(struct session *session, const struct wire_refused *refused)
{
	uint64_t *bytes;

	/* Sent by the daemon only; or of a newer release. */
	if (refused->reason == WIRE_REASON_RAM_LIMIT || refused->reason == WIRE_REASON_QUOTA ||
	    refused->reason >= WIRE_REASON_END)
		return;
	bytes = &session->vm->refused_bytes[refused->reason];
	if (*bytes == 0 && refused->bytes > 0)
		log_peer(session->account, LOG_NOTICE, "VM %s: %" PRIu64 " KiB stay unshared, being %s",
			 describe(session), refused->bytes / 1024, wire_reason_text(refused->reason));
	*bytes = refused->bytes;
}

static void on_memory_map(struct session *session, const struct wire_memory_map *map)
{
	uint32_t count = (uint32_t)((map->header.length - sizeof(*map)) / sizeof(*map->ranges));
	bool first = (map->header.flags & WIRE_FIRST) != 0;
	int r = guest_map_take(&session->vm->guest_map, map->ranges, count, first,
			       (map->header.flags & WIRE_MORE) == 0);

	quota_user_took(session->vm->user, count);
	if (!may_have_rings(session->sessions, session->vm, 0)) {
		if (first)
			log_peer(session->account, LOG_NOTICE,
				 "VM %s: the map of its memory is not kept, as [limits] user_rings_percent is reached",
				 describe(session));
		guest_map_leave_out(&session->vm->guest_map);
	}
	if (r < 0)
		fail(session, "the map of its memory cannot be taken in: %s",
		     r == -EPROTO ? "it does not follow from what was sent before" : strerror(-r));
}

static bool has_feature(const struct session *session, enum wire_feature feature)
{
	return session->kind == SESSION_VMM && (session->vm->connection.features & (UINT64_C(1) << feature)) != 0;
}

/* ---- a CLI's ---- */

static bool may_ask(const struct session *session)
{
	const struct session *other;
	unsigned count = 0;

	if (session->peer.uid == 0 || session->kind == SESSION_CONTROL)
		return true;
	LIST_FOREACH(other, &session->sessions->list, entries)
		count += other->kind == SESSION_CONTROL && other->account == session->account;
	return count < SESSION_CONTROL_PER_USER;
}

/* What comes of sending the reply: 0, -EAGAIN, -EINPROGRESS, -errno; see reply.h. */
static void on_sent(void *owner, int r)
{
	struct session *session = owner;

	if (session->failed) /* and is freed in its next turn */
		return;
	if (r == -EINPROGRESS) {
		want_nothing(session);
		return;
	}
	want_room(session, r == -EAGAIN);
	if (r == -EAGAIN)
		return;
	reply_free(&session->reply);
	if (r == -EPIPE || r == -ECONNRESET)
		end_later(session);
	else if (r < 0)
		fail(session, "cannot answer: %s", strerror(-r));
}

static void send_answer(struct session *session)
{
	const struct reply_to to = {
		.socket = session->socket,
		.payer = session->payer,
		.documents = session->sessions->control->documents,
		.sent = on_sent,
		.owner = session,
	};
	size_t size;
	char *text = control_end(session->answer, &size);
	int r = text ? reply_new(&to, text, size, &session->reply) : -ENOMEM;

	session->answer = NULL;
	on_sent(session, r == 0 ? reply_send(session->reply) : r);
}

static void go_on_answering(struct session *session)
{
	if (session->answer == NULL || control_go_on(session->answer))
		send_answer(session);
	else if (control_waits(session->answer))
		want_nothing(session);
	else
		schedule(session);
}

/* Its answer does not wait any more. */
static void on_ready(void *owner)
{
	struct session *session = owner;

	sd_event_source_set_io_events(session->io, EPOLLIN);
	schedule(session);
}

void sessions_settled(struct sessions *sessions)
{
	struct session *session;

	LIST_FOREACH(session, &sessions->list, entries)
		if (session->answer && !control_waits(session->answer))
			on_ready(session);
}

static void on_request(struct session *session, const struct wire_text *request, size_t size)
{
	const struct control_asker asker = {
		.peer = peer_of(session),
		.payer = session->payer,
		.ready = on_ready,
		.owner = session,
	};
	char reason[ADMISSION_REASON_SIZE];

	if (admission_may_ask(session->sessions->admission, &asker.peer, reason) < 0) {
		refuse(session, "%s", reason);
		return;
	}
	if (!may_ask(session)) {
		refuse(session, "user %u has %u connections that ask already", (unsigned)session->peer.uid,
		       SESSION_CONTROL_PER_USER);
		return;
	}
	session->kind = SESSION_CONTROL;
	session->answer = control_begin(session->sessions->control, &asker, request->text,
					size - sizeof(request->header));
	schedule(session); /* what it begins with may have been a turn's work */
}

/* ---- receiving ---- */

static void on_packet(struct session *session, size_t size)
{
	const struct wire_header *header = (const void *)packet;
	struct wire_hello hello;

	if (session->kind == SESSION_NEW && header->type == WIRE_HELLO) {
		wire_take_hello(packet, &hello);
		on_hello(session, &hello);
	} else if (session->kind == SESSION_VMM && header->type == WIRE_DOORBELL)
		schedule(session);
	else if (session->kind == SESSION_VMM && header->type == WIRE_REFUSED)
		on_refused(session, (const void *)packet);
	else if (has_feature(session, WIRE_FEATURE_MEMORY_MAP) && header->type == WIRE_MEMORY_MAP)
		on_memory_map(session, (const void *)packet);
	else if (has_feature(session, WIRE_FEATURE_IMAGES) && header->type == WIRE_IMAGE)
		disk_images_name(&session->vm->images, (const void *)packet);
	else if (session->kind == SESSION_VMM && header->type == WIRE_SEGMENT_WANTED)
		pump_want_segment(session->vm, ((const struct wire_wanted *)(const void *)packet)->segment);
	else if (session->kind != SESSION_VMM && header->type == WIRE_REQUEST && header->flags == 0)
		on_request(session, (const void *)packet, size);
	else
		fail(session, "message %u is not expected from it here", header->type);
}

/* Reports that it posted before it left still count: regions may have gone. */
static void drain(struct session *session)
{
	uint64_t usec = 0;

	for (unsigned turns = 0; turns <= RING_UP_RECORDS / PUMP_REPORTS_PER_TURN; turns++)
		if (session->failed || !pump_take_reports(session->vm, &usec) || usec > 0)
			break;
}

static bool waits_for_thread(const struct session *session)
{
	return (session->answer && control_waits(session->answer)) || reply_is_in_thread(session->reply);
}

/* A CLI sends no request before it has its reply. */
static bool may_receive(const struct session *session)
{
	return !session->failed && session->reply == NULL && session->answer == NULL;
}

static int on_rest(sd_event_source *source, uint64_t usec, void *user)
{
	struct session *session = user;

	(void)source;
	(void)usec;
	sd_event_source_set_enabled(session->io, SD_EVENT_ON);
	schedule(session);
	return 0;
}

/* The user's VMs have sent reports too fast: they wait in the ring until that time, while others have turns. */
static void rest(struct session *session, uint64_t until_usec)
{
	int r = sd_event_source_set_time(session->rest, until_usec);

	if (r >= 0)
		r = sd_event_source_set_enabled(session->rest, SD_EVENT_ONESHOT);
	if (r < 0)
		fail(session, "cannot set a timer: %s", strerror(-r));
}

/* The same for messages in the socket, which wait there. @return whether they have to. */
static bool must_rest(struct session *session)
{
	uint64_t until_usec = 0;

	if (session->failed || session->kind != SESSION_VMM ||
	    quota_user_reports(session->vm->user, 1, clock_now_usec(), &until_usec) > 0)
		return false;
	sd_event_source_set_enabled(session->io, SD_EVENT_OFF);
	rest(session, until_usec);
	return true;
}

static void receive(struct session *session)
{
	size_t size;
	int r;

	for (unsigned n = 0; n < SESSION_PACKETS_PER_TURN && may_receive(session); n++) {
		r = wire_receive(session->socket, packet, sizeof(packet), &size, NULL);
		if (r == -EAGAIN)
			return;
		if (r == -ECONNRESET) {
			if (session->kind == SESSION_VMM) {
				session->vm->hung_up = true;
				drain(session);
			}
			end_later(session);
			return;
		}
		if (r == -EPROTONOSUPPORT) {
			refuse(session, "it speaks another version of the protocol than %d: use the same release",
			       WIRE_VERSION);
			return;
		}
		if (r < 0) {
			fail(session, "it sent a malformed message: %s", strerror(-r));
			return;
		}
		turn_note(TURN_PACKETS, 1);
		on_packet(session, size);
		/* An answer is a turn's work, also where it is sent at once. */
		if (session->kind == SESSION_CONTROL || must_rest(session))
			return;
	}
}

/* The rest is charged to the user that caused it, even if @session does not outlive it. */
static struct fair_user *begin_turn(const struct session *session, sd_event_source *source)
{
	fair_begin(fair_of(session->sessions), source);
	session->payer->holders++;
	return session->payer;
}

/* Frees @session if it has failed. */
static void end_turn(struct session *session, struct fair_user *payer)
{
	struct fair *fair = fair_of(session->sessions);
	bool failed = session->failed;

	if (failed)
		free_session(session);
	fair_end(fair, &payer->share);
	if (!failed)
		place(session);
	fair_user_put(payer);
}

static int on_turn(sd_event_source *source, void *user)
{
	struct session *session = user;
	struct fair_user *payer = begin_turn(session, source);
	uint64_t rest_usec;

	if (!session->failed && session->vm) {
		if (pump_take_reports(session->vm, &rest_usec) && rest_usec == 0)
			schedule(session);
		if (rest_usec > 0)
			rest(session, rest_usec);
		if (!session->failed && session->link.has_held)
			pump_give_orders(session->vm);
		domain_schedule_pump(session->vm->domain);
	}
	if (!session->failed && session->answer)
		go_on_answering(session);
	end_turn(session, payer);
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct session *session = user;
	struct fair_user *payer;

	(void)fd;
	if (session->failed) /* its turn to be freed comes */
		return 0;
	payer = begin_turn(session, source);
	if (waits_for_thread(session)) { /* it is gone: that alone wakes it */
		end_later(session);
	} else if (session->kind == SESSION_CONTROL && session->reply) {
		on_sent(session, reply_send(session->reply));
	} else if (session->kind == SESSION_VMM && (events & EPOLLOUT)) {
		want_room(session, false);
		pump_give_orders(session->vm);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !session->failed)
		receive(session);
	end_turn(session, payer);
	return 0;
}

/* ---- beginning ---- */

/* A process that has connected once counts until it ends, even without a connection. */
static unsigned count_of(const struct sessions *sessions, uid_t account)
{
	const struct session *session;
	const struct daemon_vm *vm = NULL;
	unsigned count = 0;

	LIST_FOREACH(session, &sessions->list, entries)
		count += session->account == account;
	while ((vm = daemon_vm_next(sessions->admission->domains, vm)) != NULL)
		count += !daemon_vm_is_connected(vm) && vm->user->uid == account;
	return count;
}

/* A user may have at most as many connections as are left, so that newcomers find some. */
static bool leaves_some(unsigned count, unsigned left)
{
	return SESSIONS_FIRST_COME ? left > 0 : count <= left + 1;
}

/* And some are for root alone. */
static void refuse_too_many(struct session *session)
{
	const struct sessions *sessions = session->sessions;
	unsigned left = sessions->count < SESSIONS_MAX ? SESSIONS_MAX - sessions->count : 0;
	unsigned count = count_of(sessions, session->account);

	if (session->account == 0 && sessions->count > SESSIONS_MAX + SESSIONS_OF_ROOT)
		refuse(session, "there are %u connections, which are all that there can be", sessions->count);
	else if (session->account != 0 && count > *sessions->connections_per_user)
		refuse(session, "user %u has too many connections and VMs; [limits] connections_per_user is %u",
		       (unsigned)session->peer.uid, *sessions->connections_per_user);
	else if (session->account != 0 && !leaves_some(count, left))
		refuse(session,
		       "user %u has %u connections and VMs: nobody may have more than are left of the %u of all users, "
		       "and these are %u",
		       (unsigned)session->peer.uid, count, SESSIONS_MAX, left);
}

/* Limits those who may only ask, so that members are served whatever these do. */
static bool too_many_outsiders(struct session *new)
{
	const struct admission_peer peer = peer_of(new);
	const struct session *session;
	unsigned count = 0;

	new->is_outsider = !admission_is_member(new->sessions->admission, &peer);
	if (!new->is_outsider)
		return false;
	LIST_FOREACH(session, &new->sessions->list, entries)
		count += session->is_outsider;
	return count > SESSION_OUTSIDERS_MAX;
}

int session_new(struct sessions *sessions, int socket)
{
	struct session *session = calloc(1, sizeof(*session));
	bool too_many_others;
	int r;

	if (session == NULL) {
		close(socket);
		return -ENOMEM;
	}
	session->sessions = sessions;
	session->socket = socket;
	session->pidfd = -1;
	LIST_INSERT_HEAD(&sessions->list, session, entries);
	sessions->count++;
	r = daemon_vm_identify(socket, &session->peer, &session->pidfd);
	if (r == 0)
		r = sd_event_add_io(sessions->event, &session->io, socket, EPOLLIN, on_io, session);
	if (r >= 0)
		r = sd_event_add_defer(sessions->event, &session->turn, on_turn, session);
	if (r >= 0)
		r = sd_event_source_set_enabled(session->turn, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(sessions->event, &session->rest, CLOCK_MONOTONIC, 0, 1, on_rest, session);
	if (r >= 0)
		r = sd_event_source_set_enabled(session->rest, SD_EVENT_OFF);
	if (r < 0) {
		free_session(session);
		return r;
	}
	too_many_others = too_many_outsiders(session);
	session->account = subuids_account(sessions->admission->domains->subuids, session->peer.uid);
	session->payer = fair_user_get(fair_of(sessions), session->is_outsider ? FAIR_OUTSIDERS : session->account);
	if (session->payer == NULL) {
		free_session(session);
		return -ENOMEM;
	}
	place(session);
	if (too_many_others)
		refuse(session, "there are %u connections already of users who may only ask", SESSION_OUTSIDERS_MAX);
	else
		refuse_too_many(session);
	return 0;
}
