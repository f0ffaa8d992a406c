/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What doctor looks at: this host, the daemon, its VMs, and QEMUs that it does not know. */
#ifndef PAGEFUSE_CLI_EXAMINATION_H
#define PAGEFUSE_CLI_EXAMINATION_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "cli/cli.h"
#include "cli/findings.h"

struct examination {
	const struct cli *cli;
	const char *name;     /* of the only VM to look at; NULL: the host and all VMs */
	const json_t *status; /* NULL: no daemon */
	struct ucred peer;    /* who the daemon is */
	struct findings findings;
	bool name_seen;
};

/** Adds what is found. @return enum cli_exit; complains where there is no /proc. */
int examination_look(struct examination *examination);

#endif
