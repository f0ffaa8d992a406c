/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receiving: whatever a peer sends over the socket, with whatever descriptors, ends as a checked message or an error,
 * is never written beyond the room there is, and leaves no descriptor open but those that were handed over.
 *
 *   input: room at the receiver / 256 (1 byte), then packets, which are all sent before the first is received:
 *          length (2 bytes), number of descriptors (1 byte, mod 9), 1 to have its header mended (1 byte), bytes
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "tests/protocol/raw-send.h"
#include "tests/support/fuzz.h"

#define PACKETS_MAX 8

struct packet {
	size_t size;
	unsigned fds;
};

/* The lowest number that is free: it comes back if nothing was left open. */
static int lowest_free(int socket)
{
	int fd = dup(socket);

	must(fd >= 0);
	close(fd);
	return fd;
}

static unsigned take_descriptors(const int fds[WIRE_FDS_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < WIRE_FDS_MAX; i++) {
		if (fds[i] < 0)
			continue;
		must((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
		close(fds[i]);
		count++;
	}
	return count;
}

/* In memory of just @room bytes, so that a sanitizer sees every byte written beyond. */
static void receive(int socket, size_t room, const struct packet *sent)
{
	uint8_t *message = malloc(room > 0 ? room : 1);
	int fds[WIRE_FDS_MAX], before = lowest_free(socket), r;
	size_t size = SIZE_MAX;
	unsigned count;

	must(message != NULL);
	r = wire_receive(socket, message, room, &size, fds);
	count = take_descriptors(fds);
	must(lowest_free(socket) == before);
	if (r == 0)
		must(size == sent->size && size <= room && count == sent->fds && wire_check(message, size) == 0);
	else if (sent->size == 0 || room == 0)
		must(r == -ECONNRESET && count == 0); /* what the end of the connection looks like, too */
	else
		must((r == -EPROTO || r == -EPROTONOSUPPORT) && count == 0 && size == SIZE_MAX);
	free(message);
}

/* @data: at the packet's bytes. @return whether there was room in the socket. */
static bool send_packet(int socket, const uint8_t *data, const struct packet *packet, bool mend)
{
	uint8_t *bytes = malloc(packet->size > 0 ? packet->size : 1);
	struct wire_header header;
	ssize_t sent;

	must(bytes != NULL);
	memcpy(bytes, data, packet->size);
	if (mend && packet->size >= sizeof(header)) {
		wire_header_init(&header, bytes[6], packet->size);
		memcpy(bytes, &header, sizeof(header));
	}
	sent = raw_send(socket, bytes, packet->size, packet->fds);
	must(sent == (ssize_t)packet->size || (sent < 0 && (errno == EAGAIN || errno == EMSGSIZE)));
	free(bytes);
	return sent >= 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packet packets[PACKETS_MAX], end = { 0 };
	const uint8_t *last = data + size;
	unsigned count = 0;
	size_t room;
	int sockets[2];

	if (size == 0)
		return 0;
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	room = (size_t)*data++ * 256;
	while (count < PACKETS_MAX && last - data >= 4) {
		struct packet *packet = &packets[count];
		size_t length = (size_t)data[0] | (size_t)data[1] << 8, left = (size_t)(last - data) - 4;
		bool mend = (data[3] & 1) != 0;

		*packet = (struct packet){ .size = length < left ? length : left, .fds = data[2] % (RAW_FDS_MAX + 1) };
		data += 4;
		if (!send_packet(sockets[0], data, packet, mend))
			break;
		data += packet->size;
		count++;
	}
	close(sockets[0]);
	for (unsigned i = 0; i < count; i++)
		receive(sockets[1], room, &packets[i]);
	receive(sockets[1], room, &end);
	close(sockets[1]);
	return 0;
}
