/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of docs/design/control.md. */
#ifndef PAGEFUSE_DAEMON_CONTROL_H
#define PAGEFUSE_DAEMON_CONTROL_H

#include <stddef.h>

#include "daemon/session.h"

/** A connection's serial number is part of its tickets, and those have to be exact in JSON. */
#define CONTROL_SERIAL_MAX ((UINT32_C(1) << 21) - 1)

/** Answers the request @text of @size bytes. @return the reply, a JSON document to be freed; NULL without memory. */
char *control_answer(struct session *session, const char *text, size_t size);

#endif
