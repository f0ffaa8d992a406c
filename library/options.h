/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings of this process: from the C API, else from the environment, else defaults. Before the first region. */
#ifndef PAGEFUSE_LIBRARY_OPTIONS_H
#define PAGEFUSE_LIBRARY_OPTIONS_H

#include "protocol/wire.h"

struct options {
	char name[WIRE_NAME_MAX];
	char socket_path[108];
	enum wire_mode mode;
};

/** Written by pagefuse_configure() and options_complete() only; constant once the worker runs. */
extern struct options options;

/** Fills in what has not been set, from $PAGEFUSE_NAME, $PAGEFUSE_MODE, $PAGEFUSE_SOCKET and defaults. */
void options_complete(void);

#endif
