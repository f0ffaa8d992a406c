/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/support/test.h"

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static int wait_readable(int fd)
{
	return test_readable(fd) ? 0 : -ETIMEDOUT;
}

static int take_welcome(struct fake_link *link)
{
	static _Alignas(8) char message[WIRE_MESSAGE_MAX];
	const struct wire_header *header = (const void *)message;
	int fds[WIRE_FDS_MAX], r = wait_readable(link->socket);
	size_t size;

	if (r == 0)
		r = wire_receive(link->socket, message, sizeof(message), &size, fds);
	if (r < 0)
		return r;
	if (header->type != WIRE_WELCOME) {
		fprintf(stderr, "refused: %.*s\n", (int)(size - sizeof(*header)), message + sizeof(*header));
		return -ECONNREFUSED;
	}
	wire_take_welcome(message, &link->welcome);
	link->ring_fd = fds[0];
	link->userfaultfd = fds[1];
	return 0;
}

int fake_link_open_by(struct fake_link *link, const char *socket, struct wire_hello *hello)
{
	int r;

	*link = (struct fake_link){ .ring_fd = -1, .userfaultfd = -1 };
	link->socket = connect_to(socket);
	if (link->socket < 0)
		return link->socket;
	wire_header_init(&hello->header, WIRE_HELLO, sizeof(*hello));
	hello->page_bytes = PAGE_BYTES;
	hello->features = WIRE_FEATURES;
	r = wire_send(link->socket, hello, sizeof(*hello), NULL, 0);
	if (r == 0)
		r = take_welcome(link);
	if (r == 0) {
		link->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, link->ring_fd, 0);
		r = link->ring == MAP_FAILED ? -errno : 0;
	}
	if (r < 0) {
		link->ring = NULL;
		fake_link_close(link);
		return r;
	}
	ring_attach_worker(link->ring, &link->up, &link->down);
	return 0;
}

int fake_link_open_in(struct fake_link *link, const char *socket, const char *name, enum wire_mode mode, uint64_t store,
		      const char *domain)
{
	struct wire_hello hello = { .mode = mode, .store = store };

	snprintf(hello.name, sizeof(hello.name), "%s", name);
	snprintf(hello.domain, sizeof(hello.domain), "%s", domain);
	return fake_link_open_by(link, socket, &hello);
}

int fake_link_open(struct fake_link *link, const char *socket, const char *name, enum wire_mode mode, uint64_t store)
{
	return fake_link_open_in(link, socket, name, mode, store, "");
}

void fake_link_close(struct fake_link *link)
{
	if (link->ring)
		munmap(link->ring, RING_BYTES);
	if (link->ring_fd >= 0)
		close(link->ring_fd);
	if (link->userfaultfd >= 0)
		close(link->userfaultfd);
	if (link->socket >= 0)
		close(link->socket);
	*link = (struct fake_link){ .socket = -1, .ring_fd = -1, .userfaultfd = -1 };
}

void fake_link_ring(struct fake_link *link)
{
	struct wire_header message;

	wire_header_init(&message, WIRE_DOORBELL, sizeof(message));
	(void)wire_send(link->socket, &message, sizeof(message), NULL, 0);
}

void fake_link_spoil(struct fake_link *link, uint64_t *random)
{
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t value = test_random(random);

		memcpy((char *)link->ring + value % (RING_BYTES - sizeof(value)), random, sizeof(*random));
	}
	fallocate(link->ring_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)RING_STAGING_OFFSET, 4096);
	fake_link_ring(link);
}

int fake_link_want(struct fake_link *link, uint32_t segment)
{
	struct wire_wanted message = { .segment = segment };

	wire_header_init(&message.header, WIRE_SEGMENT_WANTED, sizeof(message));
	return wire_send(link->socket, &message, sizeof(message), NULL, 0);
}

void fake_link_post(struct fake_link *link, uint8_t op, uint32_t page, uint16_t count, uint64_t value)
{
	const struct ring_record record = { .op = op, .page = page, .count = count, .value = value };

	fake_link_post_record(link, &record);
}

void fake_link_post_record(struct fake_link *link, const struct ring_record *record)
{
	while (ring_room(&link->up) == 0) { /* the daemon takes what is there, or drops us */
		struct pollfd poll_fd = { .fd = link->socket, .events = POLLRDHUP };

		if (poll(&poll_fd, 1, 1) > 0)
			return;
	}
	ring_put(&link->up, record);
	if (ring_publish(&link->up))
		fake_link_ring(link);
}
