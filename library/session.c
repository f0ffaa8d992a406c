/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/session.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "common/socket-path.h"
#include "library/descriptors.h"
#include "library/lock.h"
#include "library/options.h"
#include "library/own.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"
#include "library/wake.h"

#define WELCOME_TIMEOUT_MS 5000
#define SEGMENT_TIMEOUT_MS 1000
/* How long a worker that is about to end, and for which a VMM thread waits, goes on with a daemon. */
#define ENDING_MS 5000
#define PUBLISH_AFTER 512    /* reports, */
#define PUBLISH_AFTER_MS 20u /* or this long after the first of them, between two orders */
#define NO_SEGMENT UINT32_MAX

int session_connect(const char *path, struct descriptor **ret_socket)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	bool had;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	had = descriptors_open();
	r = (int)sys_raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0, 0, 0);
	r = descriptor_add(r, ret_socket);
	if (r == 0) {
		r = (int)sys_raw(SYS_connect, descriptor_number(*ret_socket), (long)&address, sizeof(address), 0, 0, 0);
		if (r == 0)
			r = socket_path_check_peer(path, descriptor_number(*ret_socket));
		if (r < 0)
			descriptor_close(ret_socket);
	}
	descriptors_opened(had);
	return r;
}

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static _Atomic uint64_t ending_msec; /* when session_end_all() was called; 0: not yet */

void session_end_all(void)
{
	atomic_store(&ending_msec, now_msec());
}

bool session_is_ending(void)
{
	return atomic_load(&ending_msec) != 0;
}

/** Whether the session should have ended, even if the daemon keeps this end busy. */
static bool is_overdue(void)
{
	return session_is_ending() && now_msec() - atomic_load(&ending_msec) >= ENDING_MS;
}

static int wait_for(const struct session *session, int other, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = descriptor_number(session->socket), .events = POLLIN },
				 { .fd = other, .events = POLLIN } };
	int r = wake_poll(fds, 2, timeout_ms);

	/* All signals are blocked, but setuid() in the VMM interrupts all of its threads: that is not an error. */
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

/** @base: the ring's address, or 0 if the ring is gone. */
static void note_ring(uint64_t base)
{
	memory_lock_worker();
	mapped_ring = base;
	memory_unlock();
}

int session_send(const struct session *session, const void *message, size_t size)
{
	int r = -ECONNRESET;

	memory_lock_worker();
	if (descriptor_is_there(session->socket))
		r = wire_send(descriptor_number(session->socket), message, size, NULL, 0);
	memory_unlock();
	return r;
}

/** As wire_receive(). Unused entries of @files are NULL; the others belong to the caller. */
static int receive(const struct session *session, char message[WIRE_MESSAGE_MAX],
		   struct descriptor *files[WIRE_FDS_MAX])
{
	bool had = descriptors_open();
	int fds[WIRE_FDS_MAX], r = -ECONNRESET;
	size_t size;

	memset(files, 0, WIRE_FDS_MAX * sizeof(*files));
	if (descriptor_is_there(session->socket))
		r = wire_receive(descriptor_number(session->socket), message, WIRE_MESSAGE_MAX, &size, fds);
	for (int i = 0; r == 0 && i < WIRE_FDS_MAX; i++)
		descriptor_add(fds[i], &files[i]);
	descriptors_opened(had);
	return r;
}

static void close_files(struct descriptor *files[WIRE_FDS_MAX])
{
	for (int i = 0; i < WIRE_FDS_MAX; i++)
		descriptor_close(&files[i]);
}

static int map_ring(struct session *session, const struct descriptor *file)
{
	struct stat st = { 0 };
	long base;

	if (sys_raw(SYS_fstat, descriptor_number(file), (long)&st, 0, 0, 0, 0) < 0 || (uint64_t)st.st_size < RING_BYTES)
		return -EPROTO;
	base = own_map(RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_number(file), 0);
	if (sys_is_error(base))
		return (int)base;
	if (!descriptor_is_there(file)) { /* then size and mapping may not be the ring's */
		sys_munmap((uint64_t)base, RING_BYTES);
		return -EPROTO;
	}
	note_ring((uint64_t)base);
	sys_madvise((uint64_t)base, RING_BYTES, MADV_DONTFORK);
	sys_madvise((uint64_t)base, RING_BYTES, MADV_DONTDUMP);
	session->ring = (void *)base;
	ring_attach_worker(session->ring, &session->up, &session->down);
	return 0;
}

static int take_welcome(struct session *session, const void *message, struct descriptor *files[WIRE_FDS_MAX],
			struct descriptor **ret_device)
{
	struct wire_welcome welcome;
	int r;

	if (((const struct wire_header *)message)->type != WIRE_WELCOME || files[0] == NULL)
		return -EPROTO;
	wire_take_welcome(message, &welcome);
	if ((welcome.required & ~WIRE_FEATURES) != 0)
		return -EPROTONOSUPPORT;
	r = map_ring(session, files[0]);
	if (r < 0)
		return r;
	session->seed = welcome.seed;
	session->store = welcome.store;
	session->features = welcome.features & WIRE_FEATURES;
	*ret_device = files[1];
	files[1] = NULL;
	return 0;
}

int session_open(struct session *session, struct descriptor *socket, uint64_t store, struct descriptor **ret_device)
{
	struct wire_hello hello = {
		.page_bytes = PAGE_BYTES, .mode = options.mode, .store = store, .features = WIRE_FEATURES
	};
	_Alignas(8) char message[WIRE_MESSAGE_MAX];
	struct descriptor *files[WIRE_FDS_MAX];
	int r;

	*session = (struct session){ .socket = socket };
	wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello));
	memcpy(hello.name, options.name, sizeof(hello.name));
	memcpy(hello.domain, options.domain, sizeof(hello.domain));
	memcpy(hello.uuid, options.uuid, sizeof(hello.uuid));
	hello.flags = options.mode_unsaid ? WIRE_HELLO_MODE_UNSAID : 0;
	if (options.domain[0] != 0) /* a daemon without domains would put this VM among all others */
		hello.required |= UINT64_C(1) << WIRE_FEATURE_DOMAINS;
	r = session_send(session, &hello, sizeof(hello));
	if (r == 0)
		r = wait_for(session, -1, WELCOME_TIMEOUT_MS);
	if (r >= 0)
		r = receive(session, message, files);
	if (r == 0) {
		r = take_welcome(session, message, files, ret_device);
		close_files(files);
	}
	if (r < 0)
		session_close(session);
	return r;
}

bool session_has(const struct session *session, enum wire_feature feature)
{
	return (session->features & (UINT64_C(1) << feature)) != 0;
}

void session_close(struct session *session)
{
	descriptor_close(&session->socket);
	if (session->ring != NULL) {
		note_ring(0);
		sys_munmap((uint64_t)session->ring, RING_BYTES);
	}
	session->ring = NULL;
	session->has_next = false;
}

static int take_message(struct session *session, const void *message, struct descriptor *files[WIRE_FDS_MAX])
{
	const struct wire_header *header = message;
	const struct wire_segment *segment = message;

	switch (header->type) {
	case WIRE_SEGMENT:
		if (files[0] == NULL)
			return -EPROTO;
		memory_lock_worker();
		view_add(segment->segment, segment->slots, files[0]); /* if it fails, orders that name it end as BUSY */
		memory_unlock();
		files[0] = NULL;
		session->unheard_msec = 0;
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

static bool has_segment(uint32_t segment)
{
	return segment != NO_SEGMENT && view_has(segment * VIEW_SEGMENT_SLOTS, 1);
}

/** Processes all messages that have arrived, or only those until @segment is there. */
static int receive_until(struct session *session, uint32_t segment)
{
	char message[WIRE_MESSAGE_MAX];

	while (!has_segment(segment)) {
		struct descriptor *files[WIRE_FDS_MAX];
		int r = receive(session, message, files);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		r = take_message(session, message, files);
		close_files(files);
		if (r == 0 && is_overdue())
			r = -ECANCELED;
		if (r < 0)
			return r;
	}
	return 0;
}

int session_receive(struct session *session)
{
	return receive_until(session, NO_SEGMENT);
}

/** Waits until @end for input on the socket, or for room in it. @return 0, -EAGAIN if @end has passed, -errno. */
static int wait_until(const struct session *session, short events, uint64_t end)
{
	struct pollfd fd = { .fd = descriptor_number(session->socket), .events = events };
	uint64_t now = now_msec();

	if (now >= end)
		return -EAGAIN;
	return wake_poll(&fd, 1, (int)(end - now)) < 0 && errno != EINTR ? -errno : 0;
}

static int ask_for_segment(struct session *session, uint32_t segment)
{
	struct wire_wanted message = { .segment = segment };
	uint64_t end = now_msec() + SEGMENT_TIMEOUT_MS;
	int r = session_publish(session); /* waiting may take long */

	wire_header_init(&message.header, WIRE_SEGMENT_WANTED, sizeof(message));
	if (r == 0) {
		while ((r = session_send(session, &message, sizeof(message))) == -EAGAIN)
			if (wait_until(session, POLLOUT, end) < 0) /* full of doorbells */
				return -EAGAIN;
	}
	while (r == 0 && !has_segment(segment)) {
		r = wait_until(session, POLLIN, end);
		if (r == 0)
			r = receive_until(session, segment);
	}
	return r;
}

static int need_segment(struct session *session, uint32_t segment)
{
	int r = 0;

	if (has_segment(segment))
		return 0;
	/* A segment is announced on the socket before an order first names it in the ring. */
	r = receive_until(session, segment);
	if (r < 0 || has_segment(segment))
		return r;
	if (session->unheard_msec != 0 && now_msec() - session->unheard_msec < SEGMENT_TIMEOUT_MS)
		return -EAGAIN; /* do not wait a second for each order */
	r = ask_for_segment(session, segment);
	session->unheard_msec = r == -EAGAIN ? now_msec() : 0;
	return r;
}

int session_need_slots(struct session *session, uint32_t slot, uint32_t count)
{
	int r = need_segment(session, slot / VIEW_SEGMENT_SLOTS);

	if (r == 0)
		r = need_segment(session, (slot + (count - 1)) / VIEW_SEGMENT_SLOTS);
	if (r == 0 && !view_has(slot, count))
		r = -EAGAIN;
	return r;
}

/**
 * Takes the next order out of the ring into session->next. @return 1, 0 if there is none, or -errno, then also for all
 * later calls.
 */
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

void session_done_order(struct session *session)
{
	session->has_next = false;
	ring_release(&session->down); /* the daemon checks for room itself when answers come */
}

static int ring_doorbell(struct session *session)
{
	struct wire_header doorbell;
	int r;

	wire_header_init(&doorbell, WIRE_DOORBELL, sizeof(doorbell));
	r = session_send(session, &doorbell, sizeof(doorbell));
	return r == -EAGAIN ? 0 : r; /* the many unread ones will wake the daemon, too */
}

int session_publish(struct session *session)
{
	session->unpublished = 0;
	session->unpublished_msec = 0;
	return ring_publish(&session->up) ? ring_doorbell(session) : 0;
}

/**
 * Publishes reports that were posted some time ago: if orders take long, as holds do on a host that is short of CPUs,
 * others may wait for these reports, and a VM that reports nothing for long is taken for hung. @return 0 or -errno.
 */
static int publish_late(struct session *session)
{
	struct timespec t;
	uint64_t now;

	if (session->unpublished == 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* as this runs between any two orders */
	now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	if (session->unpublished_msec == 0)
		session->unpublished_msec = now;
	return now - session->unpublished_msec >= PUBLISH_AFTER_MS ? session_publish(session) : 0;
}

int session_next_order(struct session *session, struct ring_record *ret_order)
{
	int r = publish_late(session);

	if (r == 0)
		r = session->has_next ? 1 : take_order(session);
	if (r > 0)
		*ret_order = session->next;
	return r;
}

/** Waits for the daemon to take something out of the ring. */
static int wait_while_full(const struct session *session)
{
	int r = wait_for(session, -1, 1000);

	return r >= 0 && session_is_ending() && (r == 0 || is_overdue()) ? -ECANCELED : r;
}

static int wait_for_room(struct session *session)
{
	int r = session_publish(session), room;

	while (r >= 0 && (room = ring_room(&session->up)) == 0) {
		ring_set_starved(&session->up, true);
		if (ring_room(&session->up) == 0)
			r = wait_while_full(session);
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
			r = wait_while_full(session);
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

int session_wait(struct session *session, int timeout_ms)
{
	int r = session_publish(session);

	if (r < 0)
		return r;
	ring_set_waiting(&session->down, true);
	if (!session->has_next)
		r = take_order(session);
	if (r == 0)
		r = wait_for(session, wake_number(), timeout_ms);
	ring_set_waiting(&session->down, false);
	return r < 0 ? r : session_receive(session);
}
