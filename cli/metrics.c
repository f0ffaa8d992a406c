/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse metrics: figures by VirtualBox's names. The command line, and what is asked of the daemon. */
#include "cli/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/document.h"
#include "protocol/wire.h"

/* ---- the daemon ---- */

/** One of host and VMs is asked for wherever any of theirs is chosen, so that all objects are in the reply. */
static json_t *names_of(const struct metric_filter *filter)
{
	static const enum series_id always[] = { [METRIC_OF_HOST] = SERIES_VMM_SHARED,
						 [METRIC_OF_VM] = SERIES_GUEST_SHARED };
	bool wanted[SERIES_END] = { false };
	json_t *names = json_array();

	/* One name is the host's and the VMs', and the daemon tells of both. */
	if (metric_filter_has(filter, SERIES_HOST_USED) || metric_filter_has(filter, SERIES_VM_USED))
		json_array_append_new(names, json_string(metric_series[SERIES_VM_USED].name));

	for (enum series_id id = 0; id < SERIES_END; id++)
		if (metric_filter_has(filter, id))
			wanted[metric_series[id].lacks == NULL ? id : always[metric_series[id].scope]] = true;
	for (enum series_id id = 0; id < SERIES_END; id++)
		if (wanted[id] && id != SERIES_HOST_USED && id != SERIES_VM_USED)
			json_array_append_new(names, json_string(metric_series[id].name));
	return names;
}

static bool is_of(const json_t *metric, bool host, const char *object)
{
	return field_bool(metric, "host") == host && strcmp(field_text(metric, "object"), object) == 0;
}

/** @return NULL without memory. */
static json_t *group(const json_t *list)
{
	json_t *objects = json_array(), *last = NULL, *metric;
	size_t i;

	json_array_foreach(list, i, metric) {
		bool host = field_bool(metric, "host");
		const char *object = field_text(metric, "object");

		if (last == NULL || !is_of(last, host, object)) {
			last = json_pack("{s:s, s:b, s:{}}", "object", object, "host", host, "metrics");
			json_array_insert_new(objects, host ? 0 : json_array_size(objects), last);
		}
		json_object_set(json_object_get(last, "metrics"), field_text(metric, "metric"), metric);
	}
	return objects;
}

int metrics_ask(const struct cli *cli, struct client *client, const struct metrics_wish *wish, json_t *request,
		json_t **ret_objects)
{
	json_t *reply, *list;
	int r;

	json_object_set_new(request, "object", json_string(wish->object));
	json_object_set_new(request, "metrics", names_of(&wish->filter));
	r = client_call(cli, client, request, &reply);
	if (r != CLI_DONE)
		return r;
	list = json_object_get(reply, "metrics");
	if (!json_is_array(list)) {
		json_decref(reply);
		return client_failed(cli, -EPROTO);
	}
	*ret_objects = group(list);
	json_decref(reply);
	return CLI_DONE;
}

void metrics_walk(const json_t *objects, const struct metrics_wish *wish,
		  void (*each)(void *user, const char *object, enum series_id id, enum aggregate aggregate,
			       const json_t *metric),
		  void *user)
{
	const json_t *object;
	size_t i;

	json_array_foreach(objects, i, object) {
		enum metric_scope scope = field_bool(object, "host") ? METRIC_OF_HOST : METRIC_OF_VM;
		const json_t *known = json_object_get(object, "metrics");

		for (enum series_id id = 0; id < SERIES_END; id++) {
			const json_t *metric = json_object_get(known, metric_series[id].name);

			if (metric_series[id].scope != scope || (metric == NULL && metric_series[id].lacks == NULL))
				continue;
			for (enum aggregate aggregate = 0; aggregate < AGGREGATE_END; aggregate++)
				if (wish->filter.chosen[id][aggregate])
					each(user, field_text(object, "object"), id, aggregate, metric);
		}
	}
}

/* ---- setup, enable, disable ---- */

static void note_setting(void *user, const char *object, enum series_id id, enum aggregate aggregate,
			 const json_t *metric)
{
	char name[METRIC_NAME_SIZE];

	(void)aggregate;
	if (metric == NULL)
		return;
	metric_full_name(name, id, AGGREGATE_NONE);
	json_array_append_new(user,
			      json_pack("{s:s, s:s, s:b, s:I, s:I}", "object", object, "metric", name, "enabled",
					field_bool(metric, "enabled"), "period", field_integer(metric, "period"),
					"samples", field_integer(metric, "samples")));
}

static int print_setting(const struct metrics_wish *wish, const json_t *list)
{
	const json_t *entry;
	size_t i;

	if (!wish->list)
		return CLI_DONE;
	printf("The following metrics were modified:\n\n%-15s %s\n%-15s %s\n", "Object", "Metric", "---------------",
	       "----------------------------");
	json_array_foreach(list, i, entry)
		printf("%-15s %s\n", field_text(entry, "object"), field_text(entry, "metric"));
	return cli_finish_output();
}

/** Samples are of a metric: its average and so on are made of the same. */
static void without_aggregates(struct metric_filter *filter)
{
	for (enum series_id id = 0; id < SERIES_END; id++) {
		filter->chosen[id][AGGREGATE_NONE] = metric_filter_has(filter, id) && metric_series[id].lacks == NULL;
		for (enum aggregate aggregate = 1; aggregate < AGGREGATE_END; aggregate++)
			filter->chosen[id][aggregate] = false;
	}
}

static int set(const struct cli *cli, struct client *client, const struct metrics_wish *wish, json_t *request)
{
	struct metrics_wish base = *wish;
	json_t *objects, *document, *list = json_array();
	int r;

	without_aggregates(&base.filter);
	r = metrics_ask(cli, client, &base, request, &objects);
	if (r == CLI_DONE) {
		metrics_walk(objects, &base, note_setting, list);
		json_decref(objects);
	}
	if (r == CLI_DONE && json_array_size(list) == 0) {
		complain("'%s': there is no VM of yours, and of the host samples are kept for root only; `pagefuse "
			 "metrics collect` needs none",
			 wish->object);
		r = CLI_FAILED;
	}
	if (r == CLI_DONE && cli->json) {
		document = json_pack("{s:O}", "metrics", list);
		r = document_print(document, false);
		json_decref(document);
	} else if (r == CLI_DONE) {
		r = print_setting(wish, list);
	}
	json_decref(list);
	return r;
}

static int set_up(const struct cli *cli, struct client *client, const struct metrics_wish *wish)
{
	return set(cli, client, wish,
		   json_pack("{s:s, s:i, s:i}", "command", "set-metrics", "period",
			     wish->period_seconds > 0 ? (int)wish->period_seconds : 1, "samples",
			     wish->samples > 0 ? (int)wish->samples : 1));
}

static int enable(const struct cli *cli, struct client *client, const struct metrics_wish *wish)
{
	return set(cli, client, wish, json_pack("{s:s, s:b}", "command", "set-metrics", "enable", true));
}

static int disable(const struct cli *cli, struct client *client, const struct metrics_wish *wish)
{
	return set(cli, client, wish, json_pack("{s:s, s:b}", "command", "set-metrics", "enable", false));
}

/* ---- the command line ---- */

static const struct action {
	const char *name;
	int (*run)(const struct cli *cli, struct client *client, const struct metrics_wish *wish);
	bool periods; /* takes --period and --samples */
	bool list;    /* and --list */
	bool values;  /* is of no use where no value is known */
} actions[] = {
	{ "list", metrics_list, false, false, false },
	{ "query", metrics_query, false, false, false },
	{ "setup", set_up, true, true, true },
	{ "collect", metrics_collect, true, false, true },
	{ "enable", enable, false, true, true },
	{ "disable", disable, false, true, true },
};

static const struct action *find_action(const char *name)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

static bool parse_count(const char *option, const char *text, const char *unit, unsigned most, unsigned *ret)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < 1 || value > most) {
		complain_usage("--%s '%s': give %s from 1 to %u", option, text, unit, most);
		return false;
	}
	*ret = (unsigned)value;
	return true;
}

static bool parse_filter(struct metrics_wish *wish, const struct action *action, const char *metrics_text)
{
	bool host = strcmp(wish->object, "host") == 0, all = strcmp(wish->object, "*") == 0;
	const char *bad = metric_filter_parse(&wish->filter, metrics_text, host || all, !host);
	enum series_id lacking;

	if (bad != NULL)
		complain_usage("'%.*s' is no metric of '%s'; `pagefuse metrics list` shows them",
			       (int)strcspn(bad, ","), bad, wish->object);
	else if (action->values && !metric_filter_has_known(&wish->filter, &lacking))
		complain_usage("'%s' has no value: %s; `pagefuse metrics list` shows which have", metrics_text,
			       metric_series[lacking].lacks);
	else
		return true;
	return false;
}

/** @arguments: what there is besides options: ACTION [OBJECT [METRICS]]. @return NULL after complaining. */
static const struct action *parse_arguments(struct metrics_wish *wish, int count, char **arguments)
{
	const struct action *action = count > 0 ? find_action(arguments[0]) : NULL;

	wish->object = count > 1 ? arguments[1] : "*";
	if (count == 0)
		complain_usage("metrics needs a word of what to do: list, query, setup, collect, enable or disable");
	else if (action == NULL)
		complain_usage("'%s': metrics can list, query, setup, collect, enable or disable", arguments[0]);
	else if (count > 3)
		complain_usage("'%s': metrics takes one object and one list of metrics, with commas between",
			       arguments[3]);
	else if (!action->periods && (wish->period_seconds > 0 || wish->samples > 0))
		complain_usage("'%s': --period and --samples are of setup and collect", action->name);
	else if (!action->list && wish->list)
		complain_usage("'%s': --list is of setup, enable and disable", action->name);
	else if (!wire_name_is_valid(wish->object))
		complain_usage("'%s' cannot be an object; give '*', host or a VM's name", wish->object);
	else if (parse_filter(wish, action, count > 2 ? arguments[2] : "*"))
		return action;
	return NULL;
}

static int run_metrics(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "period", required_argument, NULL, 'p' },
		{ "samples", required_argument, NULL, 's' },
		{ "list", no_argument, NULL, 'l' },
		{ 0 },
	};
	struct metrics_wish wish = { 0 };
	const struct action *action;
	struct client *client;
	int option, r;

	while ((option = cli_next_option(cli, argc, argv, ":p:s:l", options)) != -1) {
		if (option == '?')
			return CLI_USAGE;
		if (option == 'p' &&
		    !parse_count("period", optarg, "seconds", SERIES_PERIOD_SECONDS_MAX, &wish.period_seconds))
			return CLI_USAGE;
		if (option == 's' && !parse_count("samples", optarg, "a number", SERIES_SAMPLES_MAX, &wish.samples))
			return CLI_USAGE;
		wish.list = wish.list || option == 'l';
	}
	action = parse_arguments(&wish, argc - optind, argv + optind);
	if (action == NULL)
		return CLI_USAGE;
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = action->run(cli, client, &wish);
	client_free(client);
	return r;
}

const struct cli_command command_metrics = {
	.name = "metrics",
	.usage = "list|query|setup|collect|enable|disable [--period SECONDS] [--samples N] [--list] [--json]\n"
		 "                        ['*'|host|NAME [METRIC,...]]",
	.summary = "Figures of the host and of VMs by VirtualBox's names, and samples of them.",
	.options = "  -p, --period SECONDS  setup, collect: between two values (1)\n"
		   "  -s, --samples N       setup: values that are kept; collect: that :avg, :min, :max are of (1)\n"
		   "  -l, --list            setup, enable, disable: print which metrics it was done to\n"
		   "  --json                as one JSON document; collect: one per line, each time\n",
	.run = run_metrics,
};
