/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtio-serial port, or a UNIX socket in its place: frames out, frames in. */
#ifndef PAGEFUSE_AGENT_PORT_H
#define PAGEFUSE_AGENT_PORT_H

#include "protocol/agent-decoder.h"

struct port {
	int fd;
	struct agent_decoder decoder;
};

/** Opens @path, without blocking. @return 0, -errno. */
int port_open(struct port *port, const char *path);

/** Does nothing if it is not open: fd is -1. */
void port_close(struct port *port);

/**
 * Writes the rest of a frame: from @ret_written on, which is moved on. @return 0, all of it is written; -EAGAIN, the
 * rest when the port can be written; -ECONNRESET, nobody is at its other end; -errno.
 */
int port_write(struct port *port, const struct agent_header *frame, size_t *ret_written);

/** Reads once, what is there. @return 0, -EAGAIN, -ECONNRESET, -errno. */
int port_read(struct port *port);

#endif
