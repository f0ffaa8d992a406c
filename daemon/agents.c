/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/agents.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hash.h"
#include "daemon/agent-session.h"
#include "daemon/clock.h"
#include "daemon/guest-layout.h"
#include "daemon/log.h"
#include "daemon/vm.h"
#include "protocol/agent-decoder.h"

#define ACCEPTS_PER_TURN 16
#define ACCEPT_TURNS_PER_SECOND 1000
#define OUT_BYTES 8192              /* all acknowledgements and proofs that there can be at once fit twice */
#define LOOK_USEC UINT64_C(1000000) /* between checks whether a VM that owes an answer is still served */

/*
 * A guest is asked to send everything anew when at least this many named pages have other content by now, and these
 * outnumber those that have not: it was reset to a snapshot without noticing, or has other files in memory. Not before
 * LOST_QUIET_USEC without messages, and not again within AGENTS_ANEW_USEC.
 */
#define LOST_FEW 64u
#define LOST_QUIET_USEC UINT64_C(2000000)
#ifndef AGENTS_ANEW_USEC
#define AGENTS_ANEW_USEC UINT64_C(30000000)
#endif

struct beacon {
	bool waits;
	uint32_t page;
	uint64_t hash;
	uint64_t ticket; /* the engine has looked when that many looks are over */
};

struct agent {
	LIST_ENTRY(agent) entries;
	struct agents *agents;
	int socket, pidfd;
	struct ucred peer;
	uid_t account;        /* the user number that its user is accounted under */
	uint32_t serial;      /* of the VM's connection that was there when the agent connected */
	struct daemon_vm *vm; /* while an event of this agent is handled; else NULL, as VMs come and go */
	bool failed;          /* to be freed */
	sd_event_source *io, *timer;
	struct fair_user *payer; /* for its turns */
	struct agent_decoder decoder;
	struct agent_session session;
	struct guest_map layout; /* if the VMM does not report the layout: see guest-layout.h */
	struct labels labels;    /* of this session */
	uint64_t lost;           /* pages that had a name in this session */
	uint64_t begun_usec;     /* this session */
	uint64_t lost_usec;      /* the last of them */
	struct beacon beacons[AGENT_BEACONS_MAX];
	uint64_t tickets[AGENT_SESSION_BATCHES_MAX]; /* a ring: of batches that have ended */
	unsigned first_ticket, ticket_count;
	size_t out_bytes;
	char out[OUT_BYTES];
};

/* ---- ending ---- */

static void free_agent(struct agent *agent)
{
	struct daemon_vm *vm = NULL;

	while ((vm = daemon_vm_next(agent->agents->domains, vm)) != NULL)
		if (vm->watch.context == agent)
			vm->watch = (struct daemon_vm_watch){ 0 };
	agent_session_done(&agent->session);
	guest_map_done(&agent->layout);
	labels_done(&agent->labels);
	sd_event_source_disable_unref(agent->io);
	sd_event_source_disable_unref(agent->timer);
	fair_user_put(agent->payer);
	if (agent->pidfd >= 0)
		close(agent->pidfd);
	close(agent->socket);
	LIST_REMOVE(agent, entries);
	free(agent);
}

static void fail(struct agent *agent, const char *reason)
{
	if (!agent->failed)
		log_peer(agent->account, LOG_NOTICE, "dropping the agent in VM %s: %s",
			 agent->vm ? agent->vm->name : "?", reason);
	agent->failed = true;
}

/* ---- out ---- */

static void flush(struct agent *agent)
{
	ssize_t bytes = 0;

	if (agent->out_bytes > 0)
		bytes = send(agent->socket, agent->out, agent->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (bytes < 0 && errno != EAGAIN && errno != EINTR)
		agent->failed = true;
	if (bytes > 0) {
		agent->out_bytes -= (size_t)bytes;
		memmove(agent->out, agent->out + bytes, agent->out_bytes);
	}
	sd_event_source_set_io_events(agent->io, agent->out_bytes > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void on_send(void *context, const struct agent_header *frame)
{
	struct agent *agent = context;

	if (frame->length > sizeof(agent->out) - agent->out_bytes) {
		fail(agent, "it does not read what it is answered");
		return;
	}
	memcpy(agent->out + agent->out_bytes, frame, frame->length);
	agent->out_bytes += frame->length;
}

/* ---- requests of a session; agent->vm is served ---- */

static uint32_t on_page_at(void *context, uint64_t gfn)
{
	const struct agent *agent = context;

	return guest_map_page(agent->vm->guest_map.count > 0 ? &agent->vm->guest_map : &agent->layout, gfn);
}

/* The guest has reported where it has RAM. */
static void lay_out(struct agent *agent)
{
	struct wire_range ranges[GUEST_LAYOUT_RANGES];
	uint32_t page, pages = engine_largest_region(agent->vm->connection.engine_vm, &page), count;

	count = guest_layout_of_pc(agent->session.ram, agent->session.ram_count, page, pages, ranges);
	if (guest_map_take(&agent->layout, ranges, count, true, true) < 0)
		guest_map_done(&agent->layout); /* without memory: no frame is known */
}

static void engine_looks(const struct agent *agent, uint32_t page, uint32_t count)
{
	engine_look(agent->vm->domain->engine, agent->vm->connection.engine_vm, page, count);
	domain_schedule_pump(agent->vm->domain);
}

static void on_look(void *context, uint32_t beacon, uint32_t page, const uint8_t *bytes)
{
	struct agent *agent = context;
	_Alignas(64) static uint8_t copy[PAGE_BYTES];

	memcpy(copy, bytes, sizeof(copy));
	engine_looks(agent, page, 1);
	agent->beacons[beacon] = (struct beacon){
		.waits = true,
		.page = page,
		.hash = page_hash(copy, store_seed(agent->vm->domain->store)),
		.ticket = engine_looks_wanted(agent->vm->connection.engine_vm),
	};
}

static void on_hint(void *context, uint32_t page, uint32_t count, uint32_t module)
{
	struct agent *agent = context;

	labels_set(&agent->labels, page, count, module);
	engine_looks(agent, page, count);
}

static void on_end_batch(void *context)
{
	struct agent *agent = context;

	assert(agent->ticket_count < AGENT_SESSION_BATCHES_MAX);
	agent->tickets[(agent->first_ticket + agent->ticket_count++) % AGENT_SESSION_BATCHES_MAX] =
		engine_looks_wanted(agent->vm->connection.engine_vm);
}

/* ---- results of these requests ---- */

static void answer_beacon(struct agent *agent, uint32_t beacon, enum agent_proof proof)
{
	agent->beacons[beacon].waits = false;
	agent_session_looked(&agent->session, beacon, proof);
}

/* Passes on which looks the engine has completed, whatever their result. */
static void settle(struct agent *agent)
{
	uint64_t over = engine_looks_over(agent->vm->connection.engine_vm);

	for (uint32_t i = 0; i < AGENT_BEACONS_MAX; i++) /* no report about it: it is absent, or shared */
		if (agent->beacons[i].waits && agent->beacons[i].ticket <= over)
			answer_beacon(agent, i, AGENT_NOT_KNOWN);
	while (agent->ticket_count > 0 && agent->tickets[agent->first_ticket] <= over) {
		agent->first_ticket = (agent->first_ticket + 1) % AGENT_SESSION_BATCHES_MAX;
		agent->ticket_count--;
		agent_session_dealt_with(&agent->session);
	}
}

static void see_beacons(struct agent *agent, const struct ring_record *report)
{
	for (uint32_t i = 0; i < AGENT_BEACONS_MAX; i++) {
		const struct beacon *beacon = &agent->beacons[i];

		if (!beacon->waits || beacon->page < report->page || beacon->page - report->page >= report->count)
			continue;
		if (report->op == REPORT_HASH)
			answer_beacon(agent, i, report->value == beacon->hash ? AGENT_PROVED : AGENT_NOT_THERE);
		else if (report->op == REPORT_ZERO)
			answer_beacon(agent, i, AGENT_NOT_THERE);
	}
}

static bool has_lost_most(const struct agent *agent)
{
	return agent->lost >= LOST_FEW && agent->lost > agent->labels.named;
}

/* How long until a guest that has lost most of its pages is asked to send everything anew. */
static uint64_t until_anew_usec(const struct agent *agent, uint64_t now)
{
	uint64_t quiet = agent->lost_usec + LOST_QUIET_USEC, old = agent->begun_usec + AGENTS_ANEW_USEC;
	uint64_t due = quiet > old ? quiet : old;

	return due > now ? due - now : 0;
}

/* When the agent needs its timer next. */
static void set_timer(struct agent *agent)
{
	uint64_t now = clock_now_usec(), wait = agent_session_tick(&agent->session, now);
	bool owed = agent->ticket_count > 0;

	if (has_lost_most(agent) && wait > until_anew_usec(agent, now))
		wait = until_anew_usec(agent, now);

	for (uint32_t i = 0; i < AGENT_BEACONS_MAX; i++)
		owed |= agent->beacons[i].waits;
	if (owed && wait > LOOK_USEC)
		wait = LOOK_USEC;
	sd_event_source_set_enabled(agent->timer, wait == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
	if (wait != UINT64_MAX)
		sd_event_source_set_time(agent->timer, now + wait);
}

/* A session begins: state of the one before does not count. */
static void begin_anew(struct agent *agent)
{
	memset(agent->beacons, 0, sizeof(agent->beacons));
	labels_done(&agent->labels);
	agent->lost = 0;
	agent->begun_usec = clock_now_usec();
	agent->ticket_count = 0;
	agent_decoder_seek(&agent->decoder);
}

/* Sends the output from outside of work(). */
static void send_out(struct agent *agent)
{
	set_timer(agent);
	flush(agent);
	agent->vm = NULL;
	if (agent->failed) /* not from inside this callback: in the agent's next event */
		sd_event_source_set_io_events(agent->io, EPOLLIN | EPOLLOUT);
}

/* Has the guest send everything once more. */
static void ask_anew(struct agent *agent)
{
	if (agent_session_restart(&agent->session) < 0)
		fail(agent, "no session can begin");
	begin_anew(agent);
}

/* Has the guest name once more what it named while the VM's mode made no use of it. */
static void on_mode_changed(void *context, struct daemon_vm *vm)
{
	struct agent *agent = context;

	if (agent->failed || (vm->mode != WIRE_MODE_HINTS && vm->mode != WIRE_MODE_FULL))
		return;
	agent->vm = vm;
	ask_anew(agent);
	send_out(agent);
}

/* @report: its pages have other content by now, or are gone. */
static void lose(struct agent *agent, const struct ring_record *report)
{
	uint64_t lost = labels_clear(&agent->labels, report->page, report->count);

	if (lost == 0 || agent->failed)
		return;
	agent->lost += lost;
	agent->lost_usec = clock_now_usec();
	if (has_lost_most(agent))
		set_timer(agent);
}

static void on_report(void *context, struct daemon_vm *vm, const struct ring_record *report)
{
	struct agent *agent = context;

	if (report->op == REPORT_DIVERGED || report->op == REPORT_GONE)
		lose(agent, report);
	if (agent->failed || (report->op != REPORT_HASH && report->op != REPORT_ZERO && report->op != REPORT_SCANNED))
		return;
	agent->vm = vm;
	if (report->op == REPORT_SCANNED)
		settle(agent);
	else
		see_beacons(agent, report);
	if (agent->out_bytes > 0 || agent->failed)
		send_out(agent);
	agent->vm = NULL;
}

/*
 * The agent ends with its VM's connection, even if its socket stays open: the socket may have been passed on to another
 * process, and the pid may be reused. It is freed in its next event, not from inside this callback.
 */
static void on_ended(void *context)
{
	struct agent *agent = context;

	agent->failed = true;
	sd_event_source_set_time(agent->timer, 0);
	sd_event_source_set_enabled(agent->timer, SD_EVENT_ONESHOT);
}

/* ---- in ---- */

/* Sets agent->vm if the VM is still served by the connection that was there when the agent connected. */
static bool find_vm(struct agent *agent)
{
	if (daemon_vm_find(agent->agents->domains, &agent->peer, agent->pidfd, &agent->vm) < 0)
		agent->vm = NULL;
	if (agent->vm == NULL || !daemon_vm_is_connected(agent->vm) || !agent->vm->connection.ready)
		return false;
	if (agent->serial == 0)
		agent->serial = agent->vm->connection.serial;
	return agent->serial == agent->vm->connection.serial;
}

static void take_frames(struct agent *agent)
{
	const struct agent_header *frame;
	int r = 0;

	while (!agent->failed && (r = agent_decoder_next(&agent->decoder, &frame)) == 0) {
		/*
		 * In a session only the guest's reply to this WELCOME counts; anything before it is left over from an
		 * earlier session.
		 */
		if (frame->type == AGENT_HELLO && frame->session != agent->session.id)
			continue;
		r = agent_session_take(&agent->session, frame);
		if (r < 0)
			break;
		if (frame->type == AGENT_KNOCK) {
			begin_anew(agent);
		} else if (frame->type == AGENT_HELLO) {
			agent_decoder_settle(&agent->decoder, agent->session.id);
		} else if (frame->type == AGENT_RAM) {
			lay_out(agent);
		}
	}
	if (r == -EPROTONOSUPPORT)
		fail(agent, "it speaks another version of the protocol: use the same release of pagefuse-agent");
	else if (r == -ECONNRESET)
		agent->failed = true;
	else if (r < 0 && r != -EAGAIN)
		fail(agent, r == -EDQUOT ? "it has sent more than the limits allow" : strerror(-r));
}

static void receive(struct agent *agent)
{
	size_t room;
	void *place = agent_decoder_room(&agent->decoder, &room);
	ssize_t bytes = recv(agent->socket, place, room, MSG_DONTWAIT);

	if (bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR))
		agent->failed = true;
	if (bytes <= 0)
		return;
	agent_decoder_add(&agent->decoder, (size_t)bytes);
	take_frames(agent);
}

/* A user's agents wait behind the loop time that the user's other connections have had. */
static void place(const struct agent *agent)
{
	const struct fair *fair = agent->agents->domains->fair;

	fair_place(fair, &agent->payer->share, agent->io);
	fair_place(fair, &agent->payer->share, agent->timer);
}

/* @return always 0: an error ends this agent only. */
static int work(struct agent *agent, sd_event_source *source, bool can_read)
{
	struct fair *fair = agent->agents->domains->fair;
	struct fair_user *payer = agent->payer;
	bool failed;

	fair_begin(fair, source);
	payer->holders++;
	if (!agent->failed && !find_vm(agent))
		agent->failed = true;
	if (!agent->failed) {
		(void)agent_session_tick(&agent->session, clock_now_usec());
		if (can_read)
			receive(agent);
		settle(agent);
		if (has_lost_most(agent) && until_anew_usec(agent, clock_now_usec()) == 0)
			ask_anew(agent);
		set_timer(agent);
	}
	flush(agent);
	agent->vm = NULL;
	failed = agent->failed;
	if (failed)
		free_agent(agent);
	fair_end(fair, &payer->share);
	if (!failed)
		place(agent);
	fair_user_put(payer);
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *user)
{
	(void)fd;
	return work(user, source, (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	(void)usec;
	return work(user, source, false);
}

/* ---- beginning ---- */

/* it is freed in its next turn */
static bool has_hung_up(const struct agent *agent)
{
	struct pollfd poll_fd = { .fd = agent->socket, .events = POLLRDHUP };

	return poll(&poll_fd, 1, 0) > 0;
}

static bool has_agent(const struct agents *agents, const struct agent *new)
{
	const struct agent *agent;

	LIST_FOREACH(agent, &agents->list, entries)
		if (agent != new && agent->peer.pid == new->peer.pid && !agent->failed && !has_hung_up(agent))
			return true;
	return false;
}

static void begin(struct agents *agents, int socket)
{
	static const struct agent_session_owner owner = { on_send, on_page_at, on_look, on_hint, on_end_batch };
	struct agent *agent = calloc(1, sizeof(*agent));
	int r;

	if (agent == NULL) {
		close(socket);
		return;
	}
	agent->agents = agents;
	agent->socket = socket;
	agent->pidfd = -1;
	LIST_INSERT_HEAD(&agents->list, agent, entries);
	agent_decoder_init(&agent->decoder, AGENT_GUEST);
	r = daemon_vm_identify(socket, &agent->peer, &agent->pidfd);
	agent->account = r == 0 ? subuids_account(agents->domains->subuids, agent->peer.uid) : LOG_NOBODY;
	if (r == 0 && (!find_vm(agent) || has_agent(agents, agent))) /* QEMU tries again */
		r = -ESRCH;
	if (r == 0)
		r = sd_event_add_io(agents->event, &agent->io, socket, EPOLLIN, on_io, agent);
	if (r >= 0)
		r = sd_event_add_time(agents->event, &agent->timer, CLOCK_MONOTONIC, UINT64_MAX - 1, 1000, on_timer,
				      agent);
	if (r >= 0)
		agent->payer = fair_user_get(agents->domains->fair, agent->account);
	if (r >= 0 && agent->payer == NULL)
		r = -ENOMEM;
	if (r >= 0)
		r = agent_session_init(&agent->session, &owner, agent, clock_now_usec());
	agent->begun_usec = clock_now_usec();
	if (r < 0) {
		if (r != -ESRCH)
			log_peer(agent->account, LOG_ERR, "cannot serve an agent: %s", strerror(-r));
		free_agent(agent);
		return;
	}
	agent->vm->watch = (struct daemon_vm_watch){
		.report = on_report, .mode_changed = on_mode_changed, .ended = on_ended, .context = agent
	};
	set_timer(agent);
	flush(agent);
	place(agent);
	agent->vm = NULL;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct agents *agents = user;
	struct fair *fair = agents->domains->fair;
	int socket = 0;

	(void)events;
	fair_begin(fair, source);
	for (unsigned n = 0; n < ACCEPTS_PER_TURN && socket >= 0; n++) {
		socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (socket >= 0)
			begin(agents, socket);
	}
	fair_end(fair, &agents->accepting);
	fair_place(fair, &agents->accepting, source);
	return 0;
}

static int start_listening(struct agents *agents, const struct access *access, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mode;
	gid_t group;
	int r;

	mode = access_socket_mode(access, &group);
	memcpy(address.sun_path, agents->path, sizeof(address.sun_path));
	if (unlink(agents->path) < 0 && errno != ENOENT) /* an earlier daemon left it */
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if ((group != (gid_t)-1 && chown(agents->path, (uid_t)-1, group) < 0) || chmod(agents->path, mode) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return -errno;
	r = sd_event_add_io(agents->event, &agents->listener, fd, EPOLLIN, on_connection, agents);
	if (r >= 0)
		r = sd_event_source_set_ratelimit(agents->listener, 1000000, ACCEPT_TURNS_PER_SECOND);
	if (r >= 0)
		r = sd_event_source_set_io_fd_own(agents->listener, true);
	return r < 0 ? r : 0;
}

void agents_listen(struct agents *agents, const char *socket_path, const struct access *access)
{
	int fd = -1, r = 0;

	if (snprintf(agents->path, sizeof(agents->path), "%s" AGENT_SOCKET_SUFFIX, socket_path) >=
	    (int)sizeof(agents->path))
		r = -ENAMETOOLONG;
	if (r == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		r = fd < 0 ? -errno : start_listening(agents, access, fd);
	}
	if (r == 0)
		return;
	log_warning("cannot listen for agents in guests: %s" AGENT_SOCKET_SUFFIX ": %s", socket_path, strerror(-r));
	if (agents->listener == NULL && fd >= 0)
		close(fd);
	agents->listener = sd_event_source_disable_unref(agents->listener);
	if (r != -ENAMETOOLONG)
		unlink(agents->path);
	agents->path[0] = 0;
}

void agents_end(struct agents *agents)
{
	if (agents->listener)
		unlink(agents->path);
	agents->listener = sd_event_source_disable_unref(agents->listener);
	for (struct agent *agent = LIST_FIRST(&agents->list), *next; agent != NULL; agent = next) {
		next = LIST_NEXT(agent, entries);
		free_agent(agent);
	}
}

const struct labels *agents_labels(const struct daemon_vm *vm, const struct agent_session **ret_session)
{
	const struct agent *agent = vm->watch.context;

	if (agent == NULL || agent->failed)
		return NULL;
	*ret_session = &agent->session;
	return &agent->labels;
}
