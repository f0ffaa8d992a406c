/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/pump.h"

/* One packet at a time is looked at, and there is one thread. */
static _Alignas(8) char packet[WIRE_MESSAGE_MAX];

const char *session_describe(const struct session *session)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s%s(pid %d, uid %u)", session->process ? session->process->name : "",
		 session->process ? " " : "", (int)session->peer.pid, (unsigned)session->peer.uid);
	return text;
}

/* ---- ending ---- */

static void leave_engine(struct session *session)
{
	struct engine *engine = session->daemon->engine;
	struct process *process = session->process;
	struct engine_vm_counters counters;

	engine_vm_set_context(session->vm, NULL);
	engine_vm_counters(session->vm, &counters);
	/* Without READY it got no orders, and what it adopted is still kept by an earlier VM or not accounted for. */
	if (!session->ready || counters.ram_pages == 0) {
		engine_remove_vm(engine, session->vm);
		return;
	}
	engine_detach_vm(engine, session->vm);
	process->kept = session->vm;
}

void session_free(struct session *session)
{
	if (session->vm) {
		if (session->process->name[0])
			log_info("VM %s left", session_describe(session));
		leave_engine(session);
		daemon_schedule_pump(session->daemon);
	}
	if (session->process)
		process_disconnected(session->process);
	pump_done(session);
	sd_event_source_disable_unref(session->io);
	sd_event_source_disable_unref(session->turn);
	if (session->pidfd >= 0)
		close(session->pidfd);
	close(session->socket);
	free(session->reply);
	LIST_REMOVE(session, entries);
	session->daemon->session_count--;
	free(session);
}

void session_fail(struct session *session, const char *format, ...)
{
	char reason[256];
	va_list list;

	if (session->failed)
		return;
	va_start(list, format);
	vsnprintf(reason, sizeof(reason), format, list);
	va_end(list);
	log_peer(LOG_WARNING, "dropping the connection of %s: %s", session_describe(session), reason);
	session->failed = true;
	session_schedule(session);
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
	(void)wire_send(session->socket, &message, size, NULL, 0);
	session_fail(session, "%s", message.text);
}

/* ---- a VMM's messages ---- */

static int send_welcome(struct session *session)
{
	const struct daemon *daemon = session->daemon;
	int fds[WIRE_FDS_MAX] = { session->ring_fd, daemon->userfaultfd };
	bool has_userfaultfd = daemon->userfaultfd >= 0;
	struct wire_welcome message = {
		.seed = store_seed(daemon->store),
		.store = store_identity(daemon->store),
		.has_userfaultfd = has_userfaultfd,
	};

	wire_header_init(&message.header, WIRE_WELCOME, sizeof(message));
	return wire_send(session->socket, &message, sizeof(message), fds, has_userfaultfd ? 2 : 1);
}

static int join(struct session *session, const struct wire_hello *hello)
{
	struct daemon *daemon = session->daemon;
	struct process *process = session->process;
	int r;

	r = store_view_create(daemon->store, process->pid, process->start_time);
	if (r == 0)
		r = pump_init(session);
	if (r == 0)
		r = engine_add_vm(daemon->engine, hello->mode, &session->vm);
	if (r < 0)
		return r;
	engine_vm_set_context(session->vm, session);
	process_set_name(process, hello->name);
	process->mode = hello->mode;
	memset(process->refused_bytes, 0, sizeof(process->refused_bytes));
	return send_welcome(session);
}

static void on_hello(struct session *session, const struct wire_hello *hello)
{
	struct daemon *daemon = session->daemon;
	struct process *process;
	int r = process_get(daemon, &session->peer, session->pidfd, &process);

	if (r < 0) {
		refuse(session, "cannot identify the process: %s", strerror(-r));
		return;
	}
	if (process->session) {
		log_peer(LOG_NOTICE, "VM %s connects again: its older connection ends",
			 session_describe(process->session));
		session_free(process->session);
	}
	if (hello->store == 0 && process_begin_anew(process) < 0) {
		refuse(session, "what it shared before exec is read by a child of it, and has to be given back first");
		return;
	}
	session->kind = SESSION_VMM;
	session->process = process;
	process->session = session;
	process->hung_up = false;
	session->serial = daemon->last_serial = daemon->last_serial % CONTROL_SERIAL_MAX + 1;
	session->may_adopt = hello->store == store_identity(daemon->store) && (process->unaccounted || process->kept);
	r = join(session, hello);
	if (r < 0) {
		refuse(session, "cannot take in VM %s: %s%s", hello->name, strerror(-r),
		       r == -ENOSPC ? " (too many VMs)" : "");
		return;
	}
	log_info("VM %s joined, mode %s", session_describe(session), wire_mode_name(hello->mode));
}

static void on_refused(struct session *session, const struct wire_refused *refused)
{
	uint64_t *bytes = &session->process->refused_bytes[refused->reason];

	if (refused->reason == WIRE_REASON_RAM_LIMIT) /* ours to say */
		return;
	if (*bytes == 0 && refused->bytes > 0)
		log_peer(LOG_NOTICE, "VM %s: %" PRIu64 " KiB stay unshared, being %s", session_describe(session),
			 refused->bytes / 1024, wire_reason_text(refused->reason));
	*bytes = refused->bytes;
}

/* ---- a CLI's ---- */

static bool may_ask(const struct session *session)
{
	const struct session *other;
	unsigned count = 0;

	if (session->peer.uid == 0 || session->kind == SESSION_CONTROL)
		return true;
	LIST_FOREACH(other, &session->daemon->sessions, entries)
		count += other->kind == SESSION_CONTROL && other->peer.uid == session->peer.uid;
	return count < SESSION_CONTROL_PER_USER;
}

#define CHUNK_BYTES (WIRE_MESSAGE_MAX - sizeof(struct wire_header))

static int send_chunk(struct session *session)
{
	static struct {
		struct wire_header header;
		char text[CHUNK_BYTES];
	} message;
	size_t left = session->reply_size - session->reply_sent, size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	int r;

	wire_header_init(&message.header, WIRE_REPLY, sizeof(message.header) + size);
	message.header.flags = size < left ? WIRE_MORE : 0;
	memcpy(message.text, session->reply + session->reply_sent, size);
	r = wire_send(session->socket, &message, sizeof(message.header) + size, NULL, 0);
	if (r == 0)
		session->reply_sent += size;
	return r;
}

/* Sends as much of the reply as there is room for. @return 0, -EAGAIN if something is left, -errno. */
static int send_reply(struct session *session)
{
	int r;

	while (session->reply_sent < session->reply_size) {
		r = send_chunk(session);
		if (r < 0)
			return r;
	}
	free(session->reply);
	session->reply = NULL;
	return 0;
}

static void on_request(struct session *session, const struct wire_text *request, size_t size)
{
	int r;

	if (!may_ask(session)) {
		refuse(session, "user %u has %u connections that ask already", (unsigned)session->peer.uid,
		       SESSION_CONTROL_PER_USER);
		return;
	}
	session->kind = SESSION_CONTROL;
	session->reply = control_answer(session, request->text, size - sizeof(request->header));
	session->reply_size = session->reply ? strlen(session->reply) : 0;
	session->reply_sent = 0;
	r = session->reply ? send_reply(session) : -ENOMEM;
	if (r == -EAGAIN)
		session_want_room(session, true);
	else if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		session_fail(session, "cannot answer: %s", strerror(-r));
}

/* ---- receiving ---- */

static void on_packet(struct session *session, size_t size)
{
	const struct wire_header *header = (const void *)packet;

	if (session->kind == SESSION_NEW && header->type == WIRE_HELLO)
		on_hello(session, (const void *)packet);
	else if (session->kind == SESSION_VMM && header->type == WIRE_DOORBELL)
		session_schedule(session);
	else if (session->kind == SESSION_VMM && header->type == WIRE_REFUSED)
		on_refused(session, (const void *)packet);
	else if (session->kind != SESSION_VMM && header->type == WIRE_REQUEST && header->flags == 0)
		on_request(session, (const void *)packet, size);
	else
		session_fail(session, "message %u is not expected from it here", header->type);
}

/* What it posted before it left still counts: it may have told of regions that are gone. */
static void drain(struct session *session)
{
	for (unsigned turns = 0; turns <= RING_UP_RECORDS / PUMP_REPORTS_PER_TURN; turns++)
		if (session->failed || !pump_take_reports(session))
			break;
}

static void receive(struct session *session)
{
	size_t size;
	int r;

	for (unsigned n = 0; n < SESSION_PACKETS_PER_TURN && !session->failed && session->reply == NULL; n++) {
		r = wire_receive(session->socket, packet, sizeof(packet), &size, NULL);
		if (r == -EAGAIN)
			return;
		if (r == -ECONNRESET) {
			if (session->kind == SESSION_VMM) {
				session->process->hung_up = true;
				drain(session);
			}
			session->failed = true;
			session_schedule(session);
			return;
		}
		if (r == -EPROTONOSUPPORT) {
			refuse(session, "it speaks another version of the protocol than %d: use the same release",
			       WIRE_VERSION);
			return;
		}
		if (r < 0) {
			session_fail(session, "it sent a malformed message: %s", strerror(-r));
			return;
		}
		on_packet(session, size);
	}
}

static int on_turn(sd_event_source *source, void *user)
{
	struct session *session = user;

	(void)source;
	if (!session->failed && session->vm) {
		if (pump_take_reports(session))
			session_schedule(session);
		if (!session->failed && session->has_held)
			pump_give_orders(session);
		daemon_schedule_pump(session->daemon);
	}
	if (session->failed)
		session_free(session);
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct session *session = user;
	int r = 0;

	(void)source;
	(void)fd;
	if (session->failed) /* its turn to be freed comes */
		return 0;
	if (session->kind == SESSION_CONTROL && session->reply) {
		r = send_reply(session);
		if (r == 0)
			session_want_room(session, false);
		else if (r != -EAGAIN)
			session->failed = true;
	} else if (session->kind == SESSION_VMM && (events & EPOLLOUT)) {
		session_want_room(session, false);
		pump_give_orders(session);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(session);
	if (session->failed)
		session_free(session);
	return 0;
}

void session_schedule(struct session *session)
{
	sd_event_source_set_enabled(session->turn, SD_EVENT_ONESHOT);
}

void session_want_room(struct session *session, bool want)
{
	/* A CLI that does not read its reply is not listened to. */
	uint32_t events = want ? session->kind == SESSION_CONTROL ? EPOLLOUT : EPOLLIN | EPOLLOUT : EPOLLIN;

	sd_event_source_set_io_events(session->io, events);
}

/* ---- beginning ---- */

/* A process that has connected once costs as much until it ends, also without a connection. */
static bool too_many(const struct daemon *daemon, uid_t uid)
{
	const struct session *session;
	const struct process *process;
	unsigned count = 0;

	if (daemon->session_count > DAEMON_SESSIONS_MAX)
		return true;
	if (uid == 0)
		return false;
	LIST_FOREACH(session, &daemon->sessions, entries)
		count += session->peer.uid == uid;
	TAILQ_FOREACH(process, &daemon->processes, entries)
		count += process->session == NULL && process->uid == uid;
	return count > daemon->config.connections_per_user;
}

int session_new(struct daemon *daemon, int socket)
{
	struct session *session = calloc(1, sizeof(*session));
	int r;

	if (session == NULL) {
		close(socket);
		return -ENOMEM;
	}
	session->daemon = daemon;
	session->socket = socket;
	session->pidfd = session->ring_fd = -1;
	LIST_INSERT_HEAD(&daemon->sessions, session, entries);
	daemon->session_count++;
	r = process_identify(socket, &session->peer, &session->pidfd);
	if (r == 0)
		r = sd_event_add_io(daemon->event, &session->io, socket, EPOLLIN, on_io, session);
	if (r >= 0)
		r = sd_event_add_defer(daemon->event, &session->turn, on_turn, session);
	if (r >= 0)
		r = sd_event_source_set_enabled(session->turn, SD_EVENT_OFF);
	if (r < 0) {
		session_free(session);
		return r;
	}
	if (too_many(daemon, session->peer.uid))
		refuse(session, "user %u has too many connections and VMs; [limits] connections_per_user is %u",
		       (unsigned)session->peer.uid, daemon->config.connections_per_user);
	return 0;
}
