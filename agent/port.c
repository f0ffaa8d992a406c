/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int open_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int port_open(struct port *port, const char *path)
{
	struct stat status;
	int fd;

	if (stat(path, &status) < 0)
		return -errno;
	if (S_ISSOCK(status.st_mode)) {
		fd = open_socket(path);
	} else if (S_ISCHR(status.st_mode)) {
		fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	} else {
		return -ENODEV;
	}
	if (fd < 0)
		return fd;
	port->fd = fd;
	agent_decoder_init(&port->decoder, AGENT_HOST);
	return 0;
}

void port_close(struct port *port)
{
	if (port->fd >= 0)
		close(port->fd);
	port->fd = -1;
}

/* What reads and writes say where the other end is gone, or never was there. */
static int error_of(int code)
{
	return code == EPIPE || code == ECONNRESET || code == ENODEV || code == EIO ? -ECONNRESET : -code;
}

int port_write(struct port *port, const struct agent_header *frame, size_t *ret_written)
{
	while (*ret_written < frame->length) {
		ssize_t bytes = write(port->fd, (const char *)frame + *ret_written, frame->length - *ret_written);

		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes < 0)
			return error_of(errno);
		if (bytes == 0)
			return -EAGAIN;
		*ret_written += (size_t)bytes;
	}
	return 0;
}

int port_read(struct port *port)
{
	size_t room;
	void *place = agent_decoder_room(&port->decoder, &room);
	ssize_t bytes;

	do {
		bytes = read(port->fd, place, room);
	} while (bytes < 0 && errno == EINTR);
	if (bytes < 0)
		return error_of(errno);
	if (bytes == 0) /* of virtio-serial, too: no other end */
		return -ECONNRESET;
	agent_decoder_add(&port->decoder, (size_t)bytes);
	return 0;
}
