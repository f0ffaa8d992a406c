/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation
 *
 * A pass (look.c) runs as one call, and gives what it finds to the sink in here, which sends it. Where there is no
 * credit, or no room to hold more, the sink waits in pump() for what the host says; so there is one place that waits
 * and no state machine. Whatever ends the pass early comes out of pump() as an error, and falls through the pass:
 *
 *   -ECANCELED         a signal: the agent ends
 *   -ECONNRESET        nobody is at the other end any more
 *   -ESTALE            WELCOME: the host has begun another session, which is in session->welcome
 *   -EPROTO            the host does not keep to the protocol
 *   -EPROTONOSUPPORT   it speaks another version
 *   -ESHUTDOWN         BYE
 *
 * While a frame waits to be written nothing is read: what the host has to say is bounded by what it was told, and fits
 * its buffers. Pages are let go when their batch is acknowledged, or after hold_seconds, whatever else is waited for;
 * and they are locked only when they have a place in a batch.
 */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/page.h"

#define FOREVER UINT64_MAX
#define KNOCK_MSEC 10000
#define BEACON_MSEC 60000 /* a beacon that the host has not checked is dropped after this time */
#define REOPEN_MSEC 1000
#define BROKEN_MSEC 10000 /* until a host that sends nonsense is tried again */
#define REFUSED_MSEC 60000
#define OTHER_MODULE 0

static uint64_t clock_usec(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static uint64_t now_msec(void)
{
	return clock_usec(CLOCK_MONOTONIC) / 1000;
}

static uint64_t cpu_usec(void)
{
	return clock_usec(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- messages from the host ---- */

static int on_credit(struct session *session, uint32_t pages)
{
	if (pages > AGENT_CREDIT_MAX - session->credit)
		return -EPROTO;
	session->credit += pages;
	return 0;
}

static int on_proof(struct session *session, const struct agent_proof_frame *proof)
{
	if (proof->beacon >= BEACONS || session->beacons.pages[proof->beacon] == NULL)
		return -EPROTO;
	if (proof->proof != AGENT_PROVED)
		fprintf(stderr, "pagefuse-agent: the host does not find page frame 0x%" PRIx64 ": %s\n",
			session->beacons.pfns[proof->beacon],
			proof->proof == AGENT_NOT_THERE ? "it takes another page for it" : "it knows no memory there");
	beacons_drop(&session->beacons, proof->beacon);
	return 0;
}

static int on_ack(struct session *session, const struct agent_ack *ack)
{
	const struct session_flight *flight = &session->flights[session->first_flight];

	if (session->flight_count == 0 || ack->batch != flight->batch || ack->taken > flight->pages)
		return -EPROTO;
	session->first_flight = (session->first_flight + 1) % SESSION_FLIGHTS_MAX;
	session->flight_count--;
	session->taken += ack->taken;
	held_release(&session->held, ack->batch);
	return on_credit(session, ack->credit);
}

static int on_frame(struct session *session, const struct agent_header *frame)
{
	switch (frame->type) {
	case AGENT_WELCOME:
		memcpy(&session->welcome, frame, sizeof(session->welcome));
		agent_decoder_settle(&session->port.decoder, frame->session);
		return -ESTALE;
	case AGENT_PROOF:
		return on_proof(session, (const void *)frame);
	case AGENT_CREDIT:
		return on_credit(session, ((const struct agent_credit *)(const void *)frame)->pages);
	case AGENT_ACK:
		return on_ack(session, (const void *)frame);
	default: /* BYE: the decoder lets nothing else of a host through */
		session->bye = ((const struct agent_bye_frame *)(const void *)frame)->reason;
		return -ESHUTDOWN;
	}
}

/* Acts on what has been read. @return how many frames there were, or an error. */
static int on_frames(struct session *session)
{
	const struct agent_header *frame;
	int count = 0, r;

	while ((r = agent_decoder_next(&session->port.decoder, &frame)) == 0) {
		r = on_frame(session, frame);
		if (r < 0)
			return r;
		count++;
	}
	/* A frame of a session that is over was under way when the host began anew. */
	return r == -EAGAIN ? count : r == -ESTALE ? -EPROTO
						   : r;
}

/* ---- waiting ---- */

/* Lets go what has been held for too long. @return when the next is due. */
static uint64_t expire(struct session *session)
{
	uint64_t now = now_msec(), next = FOREVER;

	for (unsigned i = 0; i < session->flight_count; i++) {
		struct session_flight *flight = &session->flights[(session->first_flight + i) % SESSION_FLIGHTS_MAX];

		if (flight->hold_until_msec == 0)
			continue;
		if (flight->hold_until_msec > now) {
			next = flight->hold_until_msec;
			break;
		}
		held_release(&session->held, flight->batch);
		flight->hold_until_msec = 0;
	}
	if (session->beacons_until_msec <= now) {
		beacons_drop_all(&session->beacons);
		session->beacons_until_msec = FOREVER;
	}
	return next < session->beacons_until_msec ? next : session->beacons_until_msec;
}

/* Waits for one of @count descriptors, the last of which is of signals. @return 0, -ECANCELED. */
static int wait_for(struct pollfd *descriptors, unsigned count, uint64_t deadline_msec)
{
	uint64_t now = now_msec(), left = deadline_msec > now ? deadline_msec - now : 0;

	if (poll(descriptors, count, deadline_msec == FOREVER ? -1 : left < 3600000 ? (int)left
										    : 3600000) < 0)
		for (unsigned i = 0; i < count; i++)
			descriptors[i].revents = 0; /* EINTR: it is tried again */
	return descriptors[count - 1].revents != 0 ? -ECANCELED : 0;
}

/* Acts on what the host says, waiting for that until @deadline_msec at most; or until a frame can be written. */
static int pump(struct session *session, uint64_t deadline_msec, bool is_writing)
{
	struct pollfd descriptors[2] = {
		{ .fd = session->port.fd, .events = is_writing ? POLLOUT : POLLIN },
		{ .fd = session->signals, .events = POLLIN },
	};
	uint64_t due = expire(session);
	int r = is_writing ? 0 : on_frames(session);

	if (r != 0)
		return r < 0 ? r : 0;
	r = wait_for(descriptors, 2, deadline_msec < due ? deadline_msec : due);
	(void)expire(session);
	if (r < 0)
		return r;
	if (!is_writing && (descriptors[0].revents & POLLIN)) {
		r = port_read(&session->port);
		if (r == 0)
			r = on_frames(session);
		return r == -EAGAIN || r > 0 ? 0 : r;
	}
	return descriptors[0].revents & (POLLHUP | POLLERR | POLLNVAL) ? -ECONNRESET : 0;
}

static int wait_msec(struct session *session, uint64_t msec)
{
	struct pollfd signals = { .fd = session->signals, .events = POLLIN };
	uint64_t deadline = now_msec() + msec;
	int r = 0;

	while (r == 0 && now_msec() < deadline)
		r = wait_for(&signals, 1, deadline);
	return r;
}

/* ---- messages to the host ---- */

static int send_frame(struct session *session, const struct agent_header *frame)
{
	size_t written = 0;
	int r;

	while ((r = port_write(&session->port, frame, &written)) == -EAGAIN) {
		r = pump(session, FOREVER, true);
		if (r < 0)
			break;
	}
	return r;
}

static uint32_t session_id(const struct session *session)
{
	return session->welcome.greeting.header.session;
}

static int send_knock(struct session *session)
{
	struct agent_greeting knock;

	agent_greeting_init(&knock, AGENT_KNOCK, 0, sizeof(knock));
	return send_frame(session, &knock.header);
}

static int send_hello(struct session *session)
{
	struct agent_hello hello;

	agent_greeting_init(&hello.greeting, AGENT_HELLO, session_id(session), sizeof(hello));
	memcpy(hello.boot, session->boot, sizeof(hello.boot));
	hello.instance = session->instance;
	return send_frame(session, &hello.greeting.header);
}

static int send_ram(struct session *session)
{
	uint64_t room[AGENT_FRAME_MAX / 8];
	struct agent_ram *ram = (void *)room;
	const struct iomem *iomem = session->iomem;

	agent_header_init(&ram->header, AGENT_RAM, session_id(session),
			  sizeof(*ram) + iomem->ram_count * sizeof(ram->ranges[0]));
	ram->count = iomem->ram_count;
	ram->reserved = 0;
	memcpy(ram->ranges, iomem->ram, iomem->ram_count * sizeof(ram->ranges[0]));
	return send_frame(session, &ram->header);
}

static int send_beacons(struct session *session)
{
	int r = beacons_make(&session->beacons, session->iomem, session->pagemap);
	struct agent_beacon beacon;

	if (r <= 0)
		return r;
	session->beacons_until_msec = now_msec() + BEACON_MSEC;
	r = 0;
	for (unsigned i = 0; i < BEACONS && r == 0; i++) {
		if (session->beacons.pages[i] == NULL)
			continue;
		agent_header_init(&beacon.header, AGENT_BEACON, session_id(session), sizeof(beacon));
		beacon.pfn = session->beacons.pfns[i];
		beacon.beacon = i;
		beacon.reserved = 0;
		memcpy(beacon.bytes, session->beacons.pages[i], PAGE_BYTES);
		r = send_frame(session, &beacon.header);
	}
	return r;
}

static void send_bye(struct session *session, enum agent_bye reason)
{
	struct agent_bye_frame bye = { .reason = reason };
	size_t written = 0;

	agent_header_init(&bye.header, AGENT_BYE, session_id(session), sizeof(bye));
	(void)port_write(&session->port, &bye.header, &written); /* nothing waits for it to arrive */
}

static int send_module(struct session *session, enum agent_kind kind, const char *label, size_t bytes)
{
	uint64_t room[(sizeof(struct agent_module) + AGENT_LABEL_MAX + 7) / 8] = { 0 };
	struct agent_module *module = (void *)room;

	agent_header_init(&module->header, AGENT_MODULE, session_id(session), agent_module_bytes(bytes));
	module->module = session->modules;
	module->kind = (uint16_t)kind;
	module->label_bytes = (uint16_t)bytes;
	memcpy(module->label, label, bytes);
	return send_frame(session, &module->header);
}

static int flush_ranges(struct session *session)
{
	struct agent_ranges *ranges = &session->frame.ranges;
	int r;

	if (ranges->count == 0)
		return 0;
	agent_header_init(&ranges->header, AGENT_RANGES, session_id(session),
			  sizeof(*ranges) + ranges->count * sizeof(ranges->ranges[0]));
	ranges->batch = session->batch;
	r = send_frame(session, &ranges->header);
	ranges->count = 0;
	return r;
}

static int end_batch(struct session *session, bool is_last)
{
	struct agent_batch_end end = { .batch = session->batch, .pages = session->batch_pages, .is_last = is_last };
	int r = 0;

	while (r == 0 && session->flight_count == SESSION_FLIGHTS_MAX)
		r = pump(session, FOREVER, false);
	if (r == 0)
		r = flush_ranges(session);
	if (r < 0)
		return r;
	session->flights[(session->first_flight + session->flight_count++) % SESSION_FLIGHTS_MAX] =
		(struct session_flight){ .batch = session->batch,
					 .pages = session->batch_pages,
					 .hold_until_msec =
						 now_msec() + UINT64_C(1000) * session->config->hold_seconds };
	session->batch++;
	session->batch_pages = 0;
	agent_header_init(&end.header, AGENT_BATCH_END, session_id(session), sizeof(end));
	return send_frame(session, &end.header);
}

/* ---- the sink ---- */

static int on_module(struct hint_sink *sink, enum agent_kind kind, const char *text, uint32_t *ret_module)
{
	struct session *session = (void *)sink;
	char label[AGENT_LABEL_MAX + 1];
	size_t bytes;
	int r;

	label_from(text, label);
	bytes = strlen(label);
	if (session->modules == session->welcome.modules_max ||
	    bytes > session->welcome.label_bytes_max - session->label_bytes) {
		*ret_module = OTHER_MODULE;
		return 0;
	}
	r = send_module(session, kind, label, bytes);
	if (r < 0)
		return r;
	*ret_module = session->modules++;
	session->label_bytes += (uint32_t)bytes;
	return 0;
}

/* How many pages the batch can still have. */
static uint32_t batch_room(const struct session *session)
{
	/* Half of what may be held: while the host deals with one batch the next one is made. */
	uint32_t most = session->config->held_pages / 2;

	if (most > session->welcome.batch_pages_max)
		most = session->welcome.batch_pages_max;
	return most - session->batch_pages;
}

static unsigned least(unsigned a, uint64_t b)
{
	return a < b ? a : (unsigned)b;
}

/* All that a hint may have to wait for is waited for in here, before its pages are locked. */
static int on_room(struct hint_sink *sink, unsigned pages, unsigned *ret_pages)
{
	struct session *session = (void *)sink;
	int r = 0;

	if (session->batch_pages > 0 &&
	    (batch_room(session) == 0 || session->credit == 0 || held_room(&session->held) == 0))
		r = end_batch(session, false);
	while (r == 0 && (session->credit == 0 || held_room(&session->held) == 0))
		r = pump(session, FOREVER, false);
	*ret_pages = least(least(least(pages, session->credit), batch_room(session)), held_room(&session->held));
	return r;
}

static int add_range(struct session *session, const struct agent_range *range)
{
	struct agent_ranges *ranges = &session->frame.ranges;
	struct agent_range *last = &ranges->ranges[ranges->count - 1];
	int r = 0;

	if (ranges->count > 0 && last->module == range->module && last->pfn + last->pages == range->pfn &&
	    last->place + last->pages == range->place) {
		last->pages += range->pages;
	} else {
		if (ranges->count == AGENT_RANGES_MAX)
			r = flush_ranges(session);
		if (r == 0)
			ranges->ranges[ranges->count++] = *range;
	}
	session->batch_pages += range->pages;
	session->pass_pages += range->pages;
	session->credit -= range->pages;
	return r;
}

static int add_hint(struct session *session, const struct hint *hint, unsigned *ret_pages)
{
	int r = 0;

	*ret_pages = 0;
	for (unsigned at = 0, end; at < hint->pages && r == 0; at = end) {
		end = at + 1;
		if (hint->pfns[at] == 0)
			continue;
		while (end < hint->pages && hint->pfns[end] == hint->pfns[at] + (end - at))
			end++;
		*ret_pages += end - at;
		r = add_range(session,
			      &(struct agent_range){ hint->pfns[at], hint->place + at, end - at, hint->module });
	}
	return r;
}

static int on_take(struct hint_sink *sink, const struct hint *hint)
{
	struct session *session = (void *)sink;
	unsigned pages;
	int r = add_hint(session, hint, &pages);

	if (hint->mapping == NULL)
		return r;
	if (r == 0 && pages > 0)
		held_add(&session->held, hint->mapping, hint->mapping_bytes, pages, session->batch);
	else
		munmap(hint->mapping, hint->mapping_bytes);
	return r;
}

static int on_turn(struct hint_sink *sink)
{
	return pump((void *)sink, 0, false);
}

/* ---- the conversation ---- */

static void forget(struct session *session)
{
	held_release_all(&session->held);
	beacons_drop_all(&session->beacons);
	session->beacons_until_msec = FOREVER;
	session->modules = session->label_bytes = 0;
	session->credit = 0;
	session->first_flight = session->flight_count = 0;
	session->batch = 1;
	session->batch_pages = 0;
	session->taken = 0;
	session->programs_due_msec = session->files_due_msec = 0;
	session->is_first_pass = true;
	session->frame.ranges.count = 0;
	look_forget(&session->look);
}

/* One of the two kinds of look. Each has half of the CPU time that all of them may take. */
static int look(struct session *session, int (*at)(struct look *look), uint64_t *ret_due_msec)
{
	uint64_t began_usec = cpu_usec(), wait_msec;
	int r = at(&session->look);

	wait_msec = 2 * (cpu_usec() - began_usec) / session->config->cpu_permille; /* usec * 1000 / permille / 1000 */
	if (wait_msec < UINT64_C(1000) * session->config->interval_seconds)
		wait_msec = UINT64_C(1000) * session->config->interval_seconds;
	*ret_due_msec = now_msec() + wait_msec;
	return r;
}

static void report(const struct session *session, uint64_t msec, uint64_t usec)
{
	fprintf(stderr,
		"pagefuse-agent: named %" PRIu64 " pages of %" PRIu32 " modules in %" PRIu64 " ms, of which %" PRIu64
		" of CPU\n",
		session->pass_pages, session->modules, msec, usec / 1000);
	if (session->look.left_out > 0)
		fprintf(stderr, "pagefuse-agent: left out %u files beyond what can be remembered (%d)\n",
			session->look.left_out, SENT_FILES_MAX);
}

/* Looks that are due, and the wait for the next. */
static int pass(struct session *session)
{
	uint64_t began_usec = cpu_usec(), began_msec = now_msec(), due;
	int r = 0;

	session->pass_pages = 0;
	if (session->programs_due_msec <= began_msec)
		r = look(session, look_programs, &session->programs_due_msec);
	if (r == 0 && session->files_due_msec <= began_msec)
		r = look(session, look_files, &session->files_due_msec);
	if (r == 0 && session->pass_pages > 0)
		r = end_batch(session, true);
	if (r == 0 && session->is_first_pass)
		report(session, now_msec() - began_msec, cpu_usec() - began_usec);
	session->is_first_pass = false;
	due = session->programs_due_msec < session->files_due_msec ? session->programs_due_msec
								   : session->files_due_msec;
	while (r == 0 && now_msec() < due)
		r = pump(session, due, false);
	return r;
}

static int run(struct session *session)
{
	static const char other[] = "other files";
	uint32_t module;
	int r;

	forget(session);
	r = send_hello(session);
	if (r == 0)
		r = send_ram(session);
	if (r == 0)
		r = send_beacons(session);
	if (r == 0)
		r = on_module(&session->sink, AGENT_KIND_OTHER, other, &module);
	while (r == 0)
		r = pass(session);
	return r;
}

static int converse(struct session *session)
{
	uint64_t knock = 0;
	int r = 0;

	forget(session);
	session->welcome.greeting.header.session = 0;
	while (r == 0) {
		if (now_msec() >= knock) {
			r = send_knock(session);
			knock = now_msec() + KNOCK_MSEC;
		}
		if (r == 0)
			r = pump(session, knock, false);
	}
	while (r == -ESTALE)
		r = run(session);
	return r;
}

/* @return how long to wait until the next attempt, having said why if that is new. */
static uint64_t judge(struct session *session, const char *path, int error, int *last_error)
{
	const char *why = strerror(-error);
	uint64_t wait = REOPEN_MSEC;

	if (error == -EPROTO) {
		why = "the host does not keep to the protocol";
		wait = BROKEN_MSEC;
	} else if (error == -EPROTONOSUPPORT) {
		why = "the host speaks another version of the protocol; pagefuse-agent and pagefused are to be of one "
		      "release";
		wait = REFUSED_MSEC;
	} else if (error == -ESHUTDOWN) {
		why = agent_bye_text(session->bye);
		wait = REFUSED_MSEC;
	} else if (error == -ECONNRESET) {
		why = "nobody listens at the other end";
	}
	if (error != *last_error)
		fprintf(stderr, "pagefuse-agent: %s: %s; it is tried again every %" PRIu64 " s\n", path, why,
			wait / 1000);
	*last_error = error;
	return wait;
}

int session_serve(struct session *session, const char *path)
{
	int last_error = 0, r;

	for (;;) {
		r = port_open(&session->port, path);
		if (r == 0) {
			r = converse(session);
			if (session_id(session) != 0 && (r == -ECANCELED || r == -EPROTO))
				send_bye(session, r == -EPROTO ? AGENT_BYE_BROKEN : AGENT_BYE_ENDED);
			forget(session);
			port_close(&session->port);
		}
		if (r == -ECANCELED)
			return 0;
		if (r == -ENOMEM)
			return r;
		if (wait_msec(session, judge(session, path, r, &last_error)) < 0)
			return 0;
	}
}

static void read_boot(uint8_t ret[16])
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC), digits = 0;
	ssize_t bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	if (fd >= 0)
		close(fd);
	memset(ret, 0, 16);
	for (ssize_t i = 0; i < bytes && digits < 32; i++) {
		const char *place = strchr("0123456789abcdef", text[i]);

		if (place == NULL || *place == 0)
			continue;
		ret[digits / 2] = (uint8_t)(ret[digits / 2] << 4 |
					    (place - "0123456789abcdef" < 10 ? *place - '0' : *place - 'a' + 10));
		digits++;
	}
}

int session_init(struct session *session, const struct config *config, const struct iomem *iomem, int pagemap,
		 int signals)
{
	int r;

	memset(session, 0, sizeof(*session));
	session->sink = (struct hint_sink){ on_module, on_room, on_take, on_turn };
	session->config = config;
	session->iomem = iomem;
	session->pagemap = pagemap;
	session->signals = signals;
	session->port.fd = -1;
	read_boot(session->boot);
	if (getrandom(&session->instance, sizeof(session->instance), 0) != sizeof(session->instance))
		return -EIO;
	r = held_init(&session->held, config->held_pages);
	if (r == 0)
		r = look_init(&session->look, config, iomem, pagemap, &session->sink);
	return r;
}

void session_done(struct session *session)
{
	forget(session);
	port_close(&session->port);
	look_done(&session->look);
	held_done(&session->held);
}
