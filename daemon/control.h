/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of docs/design/control.md. */
#ifndef PAGEFUSE_DAEMON_CONTROL_H
#define PAGEFUSE_DAEMON_CONTROL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/admission.h"
#include "daemon/domain.h"

/** A connection's serial number is part of its tickets, and those have to be exact in JSON. */
#define CONTROL_SERIAL_MAX ((UINT32_C(1) << 21) - 1)

/** What can be asked about. */
struct control {
	const struct domains *domains;
	const struct admission *admission;
	const char *socket_path;
	uint64_t started_usec;
};

/**
 * Answers the request @text of @size bytes that @peer makes. @return the reply, a JSON document to be freed; NULL
 * without memory.
 */
char *control_answer(const struct control *control, const struct admission_peer *peer, const char *text, size_t size);

#endif
