/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings of this process: from the C API, else from the environment, else defaults. Before the first region. */
#ifndef PAGEFUSE_LIBRARY_OPTIONS_H
#define PAGEFUSE_LIBRARY_OPTIONS_H

#include <stdbool.h>

#include "protocol/wire.h"

struct options {
	char name[WIRE_NAME_MAX];
	char domain[WIRE_DOMAIN_MAX]; /* that it wants to be in; empty: the daemon chooses */
	char socket_path[108];
	enum wire_mode mode;
	bool never_nested; /* the guest runs no VMs of its own: promised by who starts the VMM */
};

/** Written by pagefuse_configure() and options_complete() only; constant once the worker runs. */
extern struct options options;

/** Fills in what has not been set, from $PAGEFUSE_NAME, _MODE, _DOMAIN, _SOCKET, _NESTED and defaults. */
void options_complete(void);

#endif
