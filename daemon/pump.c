/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything in the ring is the VMM's to write at any time. Records are copied out and checked by themselves
 * (ring_check_report) and against what was ordered (engine_report); cursors are checked by ring.c; the statistics are
 * only shown. The memory cannot shrink: it is sealed.
 *
 * Doorbells: if the socket has no room, the peer has packets to read and looks at its rings after every packet. So a
 * doorbell that cannot be sent is not needed.
 */
#include "daemon/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/process.h"

#define PUMP_BATCH 16

static int create_memory(void)
{
	int fd = memfd_create("pagefuse-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)RING_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int pump_init(struct session *session)
{
	int fd = create_memory();
	void *ring;

	if (fd < 0)
		return fd;
	ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		int r = -errno;

		close(fd);
		return r;
	}
	session->ring = ring;
	session->ring_fd = fd;
	ring_attach_daemon(ring, &session->up, &session->down);
	ring_set_waiting(&session->up, true);
	return 0;
}

void pump_done(struct session *session)
{
	if (session->ring)
		munmap(session->ring, RING_BYTES);
	if (session->ring_fd >= 0)
		close(session->ring_fd);
	session->ring = NULL;
	session->ring_fd = -1;
}

static void ring_doorbell(struct session *session)
{
	struct wire_header message;
	int r;

	wire_header_init(&message, WIRE_DOORBELL, sizeof(message));
	r = wire_send(session->socket, &message, sizeof(message), NULL, 0);
	if (r < 0 && r != -EAGAIN && r != -EPIPE && r != -ECONNRESET)
		session_fail(session, "cannot ring its doorbell: %s", strerror(-r));
}

/* ---- up ---- */

static bool changes_regions(const struct ring_record *report)
{
	return report->op == REPORT_REGION_ADD || report->op == REPORT_REGION_REMOVE;
}

/* Regions beyond the limits are left alone, which the VMM cannot know. */
static void note_beyond(struct session *session)
{
	uint64_t *bytes = &session->process->refused_bytes[WIRE_REASON_RAM_LIMIT], before = *bytes;
	struct engine_vm_counters counters;

	engine_vm_counters(session->vm, &counters);
	*bytes = counters.beyond_pages * PAGE_BYTES;
	if (*bytes > before)
		log_peer(LOG_WARNING,
			 "VM %s: %" PRIu64 " MiB of its RAM are left alone: [limits] vm_ram_size is reached, or 8 TiB "
			 "by all VMs together",
			 session_describe(session), *bytes >> 20);
}

static int take_report(struct session *session, const struct ring_record *report)
{
	void *staging = NULL;
	int r = ring_check_report(report);

	if (r < 0)
		return r;
	if (report->op == REPORT_ADOPT && !session->may_adopt)
		return -EPROTO;
	if (report->op == REPORT_FETCHED)
		staging = ring_staging(session->ring, (uint32_t)report->value);
	r = engine_report(session->daemon->engine, session->vm, report, staging);
	if (r == 0 && changes_regions(report))
		note_beyond(session);
	if (r == 0 && report->op == REPORT_READY) {
		session->ready = true;
		process_ready(session->process);
	}
	return r;
}

void pump_take_statistics(struct session *session)
{
	const struct ring_page *page = session->ring;

	/* The VMM may be writing them just now: a torn number is shown for a moment, nothing else. */
	session->process->stats = page->stats;
	engine_vm_set_cpu(session->vm, session->process->stats.cpu_nsec);
}

/* Copies up to PUMP_BATCH reports out and lets the engine bring in what it will need for them. @return how many. */
static int get_batch(struct session *session, struct ring_record *reports)
{
	int count = 0, r = 0;

	while (count < PUMP_BATCH && (r = ring_get(&session->up, &reports[count])) > 0)
		engine_prefetch(session->daemon->engine, &reports[count++]);
	return r < 0 ? r : count;
}

static bool take_batch(struct session *session, const struct ring_record *reports, int count, unsigned *taken)
{
	for (const struct ring_record *report = reports; report < reports + count; report++) {
		int r = take_report(session, report);

		*taken += changes_regions(report) ? PUMP_REGION_REPORTS : 1;
		if (r < 0) {
			session_fail(session,
				     "its report %u about page %u, count %u, value %" PRIu64 " was refused: %s",
				     report->op, report->page, report->count, report->value,
				     r == -EPROTO ? "it does not fit what was ordered" : strerror(-r));
			return false;
		}
	}
	return true;
}

bool pump_take_reports(struct session *session)
{
	struct ring_record reports[PUMP_BATCH];
	unsigned taken = 0;
	bool waiting = false;
	int r;

	ring_set_waiting(&session->up, false);
	while (taken < PUMP_REPORTS_PER_TURN) {
		r = get_batch(session, reports);
		if (r < 0) {
			session_fail(session, "the cursors of its ring are impossible");
			return false;
		}
		if (r == 0 && waiting)
			break;
		if (r == 0) { /* say so, and look once more */
			ring_set_waiting(&session->up, true);
			waiting = true;
			continue;
		}
		if (waiting)
			ring_set_waiting(&session->up, false);
		waiting = false;
		if (!take_batch(session, reports, r, &taken))
			return false;
	}
	if (taken > 0)
		pump_take_statistics(session);
	if (ring_release(&session->up))
		ring_doorbell(session);
	return !waiting && !session->failed;
}

/* ---- down ---- */

static bool bit(const uint64_t *bitmap, uint32_t index)
{
	return bitmap[index / 64] >> (index % 64) & 1;
}

static void set_bit(uint64_t *bitmap, uint32_t index, bool value)
{
	uint64_t mask = UINT64_C(1) << (index % 64);

	bitmap[index / 64] = value ? bitmap[index / 64] | mask : bitmap[index / 64] & ~mask;
}

static int send_segment(struct session *session, enum wire_type type, uint32_t segment, int fd)
{
	struct wire_segment message = { .segment = segment, .slots = ENGINE_SEGMENT_SLOTS };

	wire_header_init(&message.header, type, sizeof(message));
	return wire_send(session->socket, &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
}

static int send_closes(struct session *session)
{
	int r;

	for (uint32_t segment = 0; session->closing_count > 0 && segment < ENGINE_SEGMENTS_MAX; segment++) {
		if (!bit(session->closing, segment))
			continue;
		r = send_segment(session, WIRE_SEGMENT_CLOSE, segment, -1);
		if (r < 0)
			return r;
		set_bit(session->closing, segment, false);
		session->closing_count--;
	}
	return 0;
}

static int give_segment(struct session *session, uint32_t segment)
{
	const struct process *process = session->process;
	int fd, r;

	fd = store_view_open(session->daemon->store, process->pid, process->start_time, segment);
	if (fd < 0)
		return fd;
	r = send_segment(session, WIRE_SEGMENT, segment, fd);
	close(fd);
	return r;
}

static int tell_segment(struct session *session, uint32_t segment)
{
	int r;

	if (bit(session->told, segment))
		return 0;
	r = give_segment(session, segment);
	if (r == 0)
		set_bit(session->told, segment, true);
	return r;
}

static int give_wanted(struct session *session)
{
	int r;

	if (session->wanted == 0)
		return 0;
	r = give_segment(session, session->wanted - 1);
	if (r == 0)
		session->wanted = 0;
	return r;
}

static int next_order(struct session *session)
{
	if (!session->has_held)
		session->has_held = engine_next_order(session->daemon->engine, session->vm, &session->held);
	return session->has_held;
}

/* @return 0 if all orders are in the ring, -ENOBUFS if it is full, -EAGAIN if the socket is, -errno. */
static int give_orders(struct session *session)
{
	int r, room = ring_room(&session->down);

	if (room < 0)
		return room;
	while (next_order(session)) {
		if (room == 0)
			return -ENOBUFS;
		if (session->held.op == ORDER_MERGE) {
			r = tell_segment(session, session->held.slot / ENGINE_SEGMENT_SLOTS);
			if (r < 0)
				return r;
		}
		ring_put(&session->down, &session->held);
		session->has_held = false;
		room--;
	}
	return 0;
}

/* @r: what came of sending descriptors and orders. */
static void note_sent(struct session *session, int r)
{
	/* Too many descriptors under way: as good as no room in the socket, only that nothing tells when there is. */
	session_want_room(session, r == -EAGAIN);
	if (r == -EPROTO)
		session_fail(session, "the cursors of its ring are impossible");
	else if (r < 0 && r != -ENOBUFS && r != -EAGAIN && r != -ETOOMANYREFS && r != -EPIPE && r != -ECONNRESET)
		session_fail(session, "cannot pass it a segment of the store: %s", strerror(-r));
}

void pump_give_orders(struct session *session)
{
	int r = send_closes(session);

	if (r == 0)
		r = give_wanted(session);
	if (r == 0) {
		ring_set_starved(&session->down, false);
		r = give_orders(session);
		if (r == -ENOBUFS) { /* say so, and look once more */
			ring_set_starved(&session->down, true);
			r = give_orders(session);
		}
		if (ring_publish(&session->down))
			ring_doorbell(session);
	}
	note_sent(session, r);
}

void pump_want_segment(struct session *session, uint32_t segment)
{
	/* One that is gone meanwhile, with the region that the order was about, is not needed any more. */
	if (segment >= ENGINE_SEGMENTS_MAX || !bit(session->told, segment))
		return;
	session->wanted = segment + 1;
	note_sent(session, give_wanted(session));
}

void session_segment_removed(struct daemon *daemon, uint32_t segment)
{
	struct session *session;

	LIST_FOREACH(session, &daemon->sessions, entries) {
		if (session->kind != SESSION_VMM || !bit(session->told, segment))
			continue;
		set_bit(session->told, segment, false);
		if (session->wanted == segment + 1)
			session->wanted = 0;
		set_bit(session->closing, segment, true);
		session->closing_count++;
		session_want_room(session, true); /* sent from there, not from inside the engine */
	}
}
