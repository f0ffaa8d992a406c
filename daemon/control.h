/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of docs/design/control.md. */
#ifndef PAGEFUSE_DAEMON_CONTROL_H
#define PAGEFUSE_DAEMON_CONTROL_H

#include <stddef.h>

#include "daemon/session.h"

/** A connection's serial number is part of its tickets, and those have to be exact in JSON. */
#define CONTROL_SERIAL_MAX ((UINT32_C(1) << 21) - 1)

/** Answers one request; the reply is sent as the peer reads it. @return 0, or -ENOMEM: drop the connection. */
int control_request(struct session *session, const char *text, size_t size);

/** Sends as much of the reply as there is room for. @return 0, -EAGAIN if something is left, -errno. */
int control_send(struct session *session);

#endif
