/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/socket-path.h"
#include "library/options.h"
#include "library/own.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"

#define WELCOME_TIMEOUT_MS 5000
#define PUBLISH_AFTER 512

int session_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	if (r == 0)
		r = socket_path_check_peer(path, fd);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int wait_for(int socket, int other, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = socket, .events = POLLIN }, { .fd = other, .events = POLLIN } };
	int r = poll(fds, 2, timeout_ms);

	/* No signal is let through, but setuid() of the VMM interrupts all of its threads: that is no error. */
	return r < 0 ? errno == EINTR ? 0 : -errno : r;
}

static uint64_t mapped_ring; /* 0: none. Under the memory lock */

void session_unlock_ring(void)
{
	if (mapped_ring != 0)
		own_unlock(mapped_ring, RING_BYTES);
}

void session_forget(void)
{
	mapped_ring = 0;
}

/** @base: or 0, if the one that was there is gone. */
static void note_ring(uint64_t base)
{
	memory_lock_worker();
	mapped_ring = base;
	memory_unlock();
}

static int map_ring(struct session *session, int fd)
{
	struct stat st;
	long base;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size < RING_BYTES)
		return -EPROTO;
	base = own_map(RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	if (sys_is_error(base))
		return (int)base;
	note_ring((uint64_t)base);
	sys_madvise((uint64_t)base, RING_BYTES, MADV_DONTFORK);
	sys_madvise((uint64_t)base, RING_BYTES, MADV_DONTDUMP);
	session->ring = (void *)base;
	ring_attach_worker(session->ring, &session->up, &session->down);
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int take_welcome(struct session *session, const struct wire_welcome *welcome, int fds[WIRE_FDS_MAX],
			int *ret_device)
{
	int r;

	if (welcome->header.type != WIRE_WELCOME || fds[0] < 0)
		return -EPROTO;
	r = map_ring(session, fds[0]);
	if (r < 0)
		return r;
	session->seed = welcome->seed;
	session->store = welcome->store;
	*ret_device = fds[1];
	fds[1] = -1;
	return 0;
}

int session_open(struct session *session, int socket, uint64_t store, int *ret_device)
{
	struct wire_hello hello = { .page_bytes = PAGE_BYTES, .mode = options.mode, .store = store };
	char message[WIRE_MESSAGE_MAX];
	int fds[WIRE_FDS_MAX];
	size_t size;
	int r;

	*session = (struct session){ .socket = socket };
	wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello));
	memcpy(hello.name, options.name, sizeof(hello.name));
	r = wire_send(socket, &hello, sizeof(hello), NULL, 0);
	if (r == 0)
		r = wait_for(socket, -1, WELCOME_TIMEOUT_MS);
	if (r >= 0)
		r = wire_receive(socket, message, sizeof(message), &size, fds);
	if (r == 0) {
		r = take_welcome(session, (const void *)message, fds, ret_device);
		close_fd(&fds[0]);
		close_fd(&fds[1]);
	}
	if (r < 0)
		session_close(session);
	return r;
}

void session_close(struct session *session)
{
	close_fd(&session->socket);
	if (session->ring != NULL) {
		note_ring(0);
		sys_munmap((uint64_t)session->ring, RING_BYTES);
	}
	session->ring = NULL;
	session->has_next = false;
}

static int take_message(const void *message, int fds[WIRE_FDS_MAX])
{
	const struct wire_header *header = message;
	const struct wire_segment *segment = message;

	switch (header->type) {
	case WIRE_SEGMENT:
		if (fds[0] < 0)
			return -EPROTO;
		memory_lock_worker();
		view_add(segment->segment, segment->slots, fds[0]); /* without it, orders that name it end as GONE */
		memory_unlock();
		fds[0] = -1;
		return 0;
	case WIRE_SEGMENT_CLOSE:
		memory_lock_worker();
		template_drop(segment->segment);
		view_remove(segment->segment);
		memory_unlock();
		return 0;
	case WIRE_DOORBELL:
		return 0;
	case WIRE_ERROR:
		return -ECONNREFUSED;
	default:
		return -EPROTO;
	}
}

int session_receive(struct session *session)
{
	char message[WIRE_MESSAGE_MAX];

	for (;;) {
		int fds[WIRE_FDS_MAX];
		size_t size;
		int r = wire_receive(session->socket, message, sizeof(message), &size, fds);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		r = take_message(message, fds);
		close_fd(&fds[0]);
		close_fd(&fds[1]);
		if (r < 0)
			return r;
	}
}

/** Takes the next order out of the ring into session->next. @return 1, 0 if there is none, or -errno, from then on. */
static int take_order(struct session *session)
{
	int r = session->order_error;

	if (r == 0)
		r = ring_get(&session->down, &session->next);
	if (r > 0 && ring_check_order(&session->next) < 0)
		r = -EPROTO;
	if (r < 0)
		session->order_error = r;
	session->has_next = r > 0;
	return r;
}

int session_next_order(struct session *session, struct ring_record *ret_order)
{
	if (!session->has_next) {
		int r = take_order(session);

		if (r <= 0)
			return r;
		/* A segment is announced on the socket before an order names it in the ring. */
		if (session->next.op == ORDER_MERGE && view_slot(session->next.slot) == NULL) {
			r = session_receive(session);
			if (r < 0)
				return r;
		}
	}
	*ret_order = session->next;
	return 1;
}

void session_done_order(struct session *session)
{
	session->has_next = false;
	ring_release(&session->down); /* the daemon looks at the room itself when answers come */
}

static int ring_doorbell(struct session *session)
{
	struct wire_header doorbell;
	int r;

	wire_header_init(&doorbell, WIRE_DOORBELL, sizeof(doorbell));
	r = wire_send(session->socket, &doorbell, sizeof(doorbell), NULL, 0);
	return r == -EAGAIN ? 0 : r; /* so many unread ones will wake it, too */
}

int session_publish(struct session *session)
{
	session->unpublished = 0;
	return ring_publish(&session->up) ? ring_doorbell(session) : 0;
}

static int wait_for_room(struct session *session)
{
	int r = session_publish(session), room;

	while (r >= 0 && (room = ring_room(&session->up)) == 0) {
		ring_set_starved(&session->up, true);
		if (ring_room(&session->up) == 0)
			r = wait_for(session->socket, -1, 1000);
		if (r >= 0)
			r = session_receive(session);
		ring_set_starved(&session->up, false);
	}
	return r < 0 ? r : room < 0 ? room
				    : 0;
}

int session_post(struct session *session, const struct ring_record *report)
{
	int r = ring_room(&session->up);

	if (r == 0)
		r = wait_for_room(session);
	if (r < 0)
		return r;
	ring_put(&session->up, report);
	return ++session->unpublished >= PUBLISH_AFTER ? session_publish(session) : 0;
}

int session_post_value(struct session *session, enum ring_report op, uint32_t page, unsigned count, uint64_t value)
{
	struct ring_record record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page, .value = value };

	return session_post(session, &record);
}

int session_post_run(struct session *session, enum ring_report op, uint32_t page, unsigned count, uint32_t slot)
{
	struct ring_record record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page, .slot = slot };

	return session_post(session, &record);
}

/** Records in the up ring that the daemon has not consumed, or -EPROTO. */
static int unconsumed(struct session *session)
{
	int room = ring_room(&session->up);

	return room < 0 ? room : (int)session->up.size - room;
}

int session_staging(struct session *session)
{
	uint32_t index = session->staged % RING_STAGING_PAGES;
	int r = 0;

	while (session->staged >= RING_STAGING_PAGES) {
		int used = unconsumed(session);

		if (used < 0)
			return used;
		if (session->up.mine - session->staging_place[index] > (uint32_t)used)
			break;
		r = session_publish(session);
		ring_set_starved(&session->up, true);
		if (r >= 0 && unconsumed(session) == used)
			r = wait_for(session->socket, -1, 1000);
		ring_set_starved(&session->up, false);
		if (r >= 0)
			r = session_receive(session);
		if (r < 0)
			return r;
	}
	return (int)index;
}

int session_post_fetched(struct session *session, struct ring_record *report, uint32_t index)
{
	int r;

	report->value = index;
	r = session_post(session, report);
	session->staging_place[index] = session->up.mine - 1;
	session->staged++;
	return r;
}

int session_wait(struct session *session, int wake, int timeout_ms)
{
	int r = session_publish(session);

	if (r < 0)
		return r;
	ring_set_waiting(&session->down, true);
	if (!session->has_next)
		r = take_order(session);
	if (r == 0)
		r = wait_for(session->socket, wake, timeout_ms);
	ring_set_waiting(&session->down, false);
	return r < 0 ? r : session_receive(session);
}
