/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM can write everything in the ring at any time. Records are copied out; the caller checks them. ring.c checks
 * the cursors. The memory cannot shrink, as it is sealed.
 *
 * Doorbells: if the socket has no room, the peer has packets to read, and it looks at its rings after every packet. So
 * a doorbell that cannot be sent is not needed.
 */
#include "daemon/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/wire.h"

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

int link_init(struct link *link, int socket, const struct link_events *events, void *owner)
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
	link->socket = socket;
	link->events = events;
	link->owner = owner;
	link->ring = ring;
	link->ring_fd = fd;
	ring_attach_daemon(ring, &link->up, &link->down);
	ring_set_waiting(&link->up, true);
	link->waiting = true;
	return 0;
}

void link_done(struct link *link)
{
	if (link->ring == NULL)
		return;
	munmap(link->ring, RING_BYTES);
	close(link->ring_fd);
	link->ring = NULL;
}

bool link_is_open(const struct link *link)
{
	return link->ring != NULL && !link->failed;
}

void link_stop(struct link *link)
{
	link->failed = true;
}

void link_fail(struct link *link, const char *format, ...)
{
	char reason[256];
	va_list list;

	if (link->failed)
		return;
	va_start(list, format);
	vsnprintf(reason, sizeof(reason), format, list);
	va_end(list);
	link->failed = true;
	link->events->failed(link->owner, reason);
}

static void ring_doorbell(struct link *link)
{
	struct wire_header message;
	int r;

	wire_header_init(&message, WIRE_DOORBELL, sizeof(message));
	r = wire_send(link->socket, &message, sizeof(message), NULL, 0);
	if (r < 0 && r != -EAGAIN && r != -EPIPE && r != -ECONNRESET)
		link_fail(link, "cannot ring its doorbell: %s", strerror(-r));
}

void link_look_at_memory(struct link *link)
{
	struct stat st;

	if (link->ring && fstat(link->ring_fd, &st) == 0)
		link->memory_bytes = (uint64_t)st.st_blocks * 512;
}

/* ---- up ---- */

static int copy_out(struct link *link, struct ring_record *reports, int size)
{
	int count = 0, r = 0;

	while (count < size && (r = ring_get(&link->up, &reports[count])) > 0)
		count++;
	return r < 0 ? r : count;
}

static void set_waiting(struct link *link, bool waiting)
{
	if (link->waiting != waiting)
		ring_set_waiting(&link->up, waiting);
	link->waiting = waiting;
}

int link_get_reports(struct link *link, struct ring_record *ret_reports, int size)
{
	int r = copy_out(link, ret_reports, size);

	if (r == 0 && !link->waiting) { /* say so, and look once more */
		set_waiting(link, true);
		r = copy_out(link, ret_reports, size);
	}
	if (r > 0)
		set_waiting(link, false);
	return r;
}

void link_release_reports(struct link *link)
{
	if (ring_release(&link->up))
		ring_doorbell(link);
}

void *link_staging(const struct link *link, uint32_t index)
{
	return ring_staging(link->ring, index);
}

const struct ring_stats *link_statistics(const struct link *link)
{
	const struct ring_page *page = link->ring;

	return &page->stats;
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

static int send_segment(struct link *link, enum wire_type type, uint32_t segment, int fd)
{
	struct wire_segment message = { .segment = segment, .slots = SEGMENT_SLOTS };

	wire_header_init(&message.header, type, sizeof(message));
	return wire_send(link->socket, &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
}

/* @return 0 if all have been sent, -EAGAIN if some have not, -errno. */
static int send_closes(struct link *link, unsigned *packets)
{
	int r;

	for (uint32_t segment = 0; link->closing_count > 0 && segment < SEGMENTS_MAX; segment++) {
		if (!bit(link->closing, segment))
			continue;
		if (*packets == LINK_CLOSES_AT_ONCE)
			return -EAGAIN;
		++*packets;
		r = send_segment(link, WIRE_SEGMENT_CLOSE, segment, -1);
		if (r < 0)
			return r;
		set_bit(link->closing, segment, false);
		link->closing_count--;
	}
	return 0;
}

static int give_segment(struct link *link, const struct link_source *source, void *context, uint32_t segment)
{
	int r, fd = source->open_segment(context, segment);

	if (fd < 0)
		return fd;
	r = send_segment(link, WIRE_SEGMENT, segment, fd);
	close(fd);
	return r;
}

static int tell_segment(struct link *link, const struct link_source *source, void *context, uint32_t segment)
{
	int r;

	if (bit(link->told, segment))
		return 0;
	r = give_segment(link, source, context, segment);
	if (r == 0)
		set_bit(link->told, segment, true);
	return r;
}

static int give_wanted(struct link *link, const struct link_source *source, void *context)
{
	int r;

	if (link->wanted == 0)
		return 0;
	r = give_segment(link, source, context, link->wanted - 1);
	if (r == 0)
		link->wanted = 0;
	return r;
}

static int next_order(struct link *link, const struct link_source *source, void *context)
{
	if (!link->has_held)
		link->has_held = source->next_order(context, &link->held);
	return link->has_held;
}

/* @return 0 if all orders are in the ring, -ENOBUFS if it is full, -EAGAIN if the socket is, -errno. */
static int give_orders(struct link *link, const struct link_source *source, void *context)
{
	int r, room = ring_room(&link->down);

	if (room < 0)
		return room;
	while (next_order(link, source, context)) {
		if (room == 0)
			return -ENOBUFS;
		if (link->held.op == ORDER_MERGE) {
			r = tell_segment(link, source, context, link->held.slot / SEGMENT_SLOTS);
			if (r < 0)
				return r;
		}
		ring_put(&link->down, &link->held);
		link->has_held = false;
		room--;
	}
	return 0;
}

unsigned link_give_orders(struct link *link, const struct link_source *source, void *context)
{
	unsigned packets = 0;
	int r = send_closes(link, &packets);

	if (r == 0)
		r = give_wanted(link, source, context);
	if (r == 0) {
		ring_set_starved(&link->down, false);
		r = give_orders(link, source, context);
		if (r == -ENOBUFS) { /* say so, and look once more */
			ring_set_starved(&link->down, true);
			r = give_orders(link, source, context);
		}
		if (ring_publish(&link->down)) {
			ring_doorbell(link);
			packets++;
		}
	}
	/* Too many descriptors in flight: like a full socket, except that no event tells when there is room again. */
	link->events->want_room(link->owner, r == -EAGAIN);
	if (r == -EPROTO)
		link_fail(link, "the cursors of its ring are impossible");
	else if (r < 0 && r != -ENOBUFS && r != -EAGAIN && r != -ETOOMANYREFS && r != -EPIPE && r != -ECONNRESET)
		link_fail(link, "cannot pass it a segment of the store: %s", strerror(-r));
	return packets;
}

bool link_want_segment(struct link *link, uint32_t segment)
{
	/* A segment that is gone meanwhile, along with the region that the order was for, is not needed any more. */
	if (segment >= SEGMENTS_MAX || !bit(link->told, segment))
		return false;
	link->wanted = segment + 1;
	return true;
}

void link_segment_removed(struct link *link, uint32_t segment)
{
	if (!bit(link->told, segment))
		return;
	set_bit(link->told, segment, false);
	if (link->wanted == segment + 1)
		link->wanted = 0;
	set_bit(link->closing, segment, true);
	link->closing_count++;
	link->events->want_room(link->owner, true); /* sent from there, not from inside the engine */
}
