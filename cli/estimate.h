/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Having an estimate made, for commands that show one. */
#ifndef PAGEFUSE_CLI_ESTIMATE_H
#define PAGEFUSE_CLI_ESTIMATE_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/cli.h"
#include "cli/client.h"

#define ESTIMATE_PAIRS_MAX 1000 /* that the daemon tells */

/**
 * Asks until it is made, with a bar if standard error is a terminal. @names: ended by NULL; none: all VMs.
 * *ret_estimate: the document of `pagefuse estimate --json`, the caller's. @return enum cli_exit; complains.
 */
int estimate_ask(const struct cli *cli, struct client *client, char **names, int pairs, bool look,
		 json_t **ret_estimate);

#endif
