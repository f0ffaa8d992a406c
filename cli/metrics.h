/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of `pagefuse metrics` have in common. */
#ifndef PAGEFUSE_CLI_METRICS_H
#define PAGEFUSE_CLI_METRICS_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/metric-filter.h"

/** What the command line says. */
struct metrics_wish {
	const char *object; /* "*", "host" or a VM's name */
	struct metric_filter filter;
	unsigned period_seconds, samples; /* 0: not given */
	bool list;                        /* print what was set up */
};

/**
 * Asks the daemon with @request, which is taken over and gets the object and the metrics. *ret_objects: an array with
 * one for each object, the host's first: {"object":NAME, "host":BOOL, "metrics":{NAME:the daemon's, …}}.
 * @return enum cli_exit; complains.
 */
int metrics_ask(const struct cli *cli, struct client *client, const struct metrics_wish *wish, json_t *request,
		json_t **ret_objects);

/**
 * Calls @each for what was chosen, object by object, in the order of the table. @metric: the daemon's; NULL if nobody
 * can tell the value.
 */
void metrics_walk(const json_t *objects, const struct metrics_wish *wish,
		  void (*each)(void *user, const char *object, enum series_id id, enum aggregate aggregate,
			       const json_t *metric),
		  void *user);

/** `pagefuse metrics list`, `query`, and `collect`, which returns when something fails. @return enum cli_exit. */
int metrics_list(const struct cli *cli, struct client *client, const struct metrics_wish *wish);
int metrics_query(const struct cli *cli, struct client *client, const struct metrics_wish *wish);
int metrics_collect(const struct cli *cli, struct client *client, const struct metrics_wish *wish);

#endif
