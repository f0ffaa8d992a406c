/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two ways in which `pagefuse top` shows figures. Both return enum cli_exit, having complained. */
#ifndef PAGEFUSE_CLI_TOP_H
#define PAGEFUSE_CLI_TOP_H

#include "cli/cli.h"
#include "cli/top-fields.h"

/** What the command line says. */
struct top_wish {
	unsigned delay_msec;
	unsigned long count; /* of refreshes, after which it ends; 0: none */
	struct top_view view;
};

/** On standard output: CSV, or with --json a document in each line. Returns when something fails as well. */
int top_batch(const struct cli *cli, const struct top_wish *wish);
/** In the terminal, with keys. */
int top_screen(const struct cli *cli, const struct top_wish *wish);

#endif
