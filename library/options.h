/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings of this process: from the C API, else from the environment, else defaults. Before the first region. */
#ifndef PAGEFUSE_LIBRARY_OPTIONS_H
#define PAGEFUSE_LIBRARY_OPTIONS_H

#include <stdbool.h>

#include "protocol/wire.h"

struct options {
	char name[WIRE_NAME_MAX];
	char domain[WIRE_DOMAIN_MAX]; /* that the VM asks for; empty: the daemon chooses */
	char socket_path[108];
	uint8_t uuid[UUID_BYTES]; /* the VM's, by the command line; all zero: none */
	enum wire_mode mode;
	bool mode_unsaid;  /* neither the C API nor the environment set one */
	bool by_preload;   /* the VMM was not written for this library */
	bool never_nested; /* the guest runs no VMs of its own, as promised by the caller that starts the VMM */
};

/** Written by pagefuse_configure() and the functions below only; constant once the worker runs. */
extern struct options options;

/**
 * Fills in what has not been set, from $PAGEFUSE_NAME, _MODE, _DOMAIN, _SOCKET, _NESTED, the command line and defaults.
 */
void options_complete(void);

/** Notes that the library is in a preload. Before the first region. */
void options_by_preload(void);

#endif
