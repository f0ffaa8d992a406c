/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse metrics list, query and collect: tables as VBoxManage prints them, or documents. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/document.h"
#include "cli/metrics.h"

#define TABLE_NAME "%-15s %-28s "
#define KEY_SIZE 128

/* ---- list ---- */

static json_t *description_of(enum series_id id)
{
	const struct metric_series *series = &metric_series[id];

	if (series->lacks == NULL)
		return json_string(series->help);
	return json_sprintf("%s Not available: %s.", series->help, series->lacks);
}

/** A document's entry for a metric that was chosen. */
static json_t *entry_of(const char *object, enum series_id id, enum aggregate aggregate)
{
	char name[METRIC_NAME_SIZE];
	json_t *entry = json_pack("{s:s, s:s, s:s}", "object", object, "metric", metric_full_name(name, id, aggregate),
				  "unit", SERIES_UNIT);

	if (metric_series[id].lacks != NULL)
		json_object_set_new(entry, "not_available", json_string(metric_series[id].lacks));
	return entry;
}

static void add_listed(void *user, const char *object, enum series_id id, enum aggregate aggregate,
		       const json_t *metric)
{
	bool enabled = field_bool(metric, "enabled");
	json_t *entry = entry_of(object, id, aggregate);

	json_object_set_new(entry, "minimum", json_integer(0));
	json_object_set_new(entry, "maximum", json_integer(SERIES_VALUE_MAX));
	json_object_set_new(entry, "period", json_integer(enabled ? field_integer(metric, "period") : 0));
	json_object_set_new(entry, "count", json_integer(enabled ? field_integer(metric, "samples") : 0));
	json_object_set_new(entry, "description", description_of(id));
	json_array_append_new(user, entry);
}

static int print_list(const json_t *list)
{
	const json_t *entry;
	size_t i;

	printf(TABLE_NAME "%-4s %7s %13s %6s %5s %s\n", "Object", "Metric", "Unit", "Minimum", "Maximum", "Period",
	       "Count", "Description");
	printf(TABLE_NAME "%-4s %7s %13s %6s %5s %s\n", "---------------", "----------------------------", "----",
	       "-------", "-------------", "------", "-----", "-----------");
	json_array_foreach(list, i, entry)
		printf(TABLE_NAME "%-4s %7" PRId64 " %13" PRId64 " %6" PRId64 " %5" PRId64 " %s\n",
		       field_text(entry, "object"), field_text(entry, "metric"), field_text(entry, "unit"),
		       field_integer(entry, "minimum"), field_integer(entry, "maximum"),
		       field_integer(entry, "period"), field_integer(entry, "count"),
		       field_text(entry, "description"));
	return cli_finish_output();
}

/* ---- query ---- */

static void add_queried(void *user, const char *object, enum series_id id, enum aggregate aggregate,
			const json_t *metric)
{
	json_t *entry = entry_of(object, id, aggregate), *values = json_object_get(metric, "values");

	if (metric != NULL && aggregate == AGGREGATE_NONE)
		json_object_set(entry, "values", values);
	else if (metric != NULL)
		json_object_set_new(entry, "values", json_pack("[I]", metric_aggregate(values, aggregate)));
	json_array_append_new(user, entry);
}

static void print_values(const json_t *entry)
{
	const json_t *value;
	size_t i;

	if (json_object_get(entry, "not_available") != NULL)
		printf("not available: %s", field_text(entry, "not_available"));
	json_array_foreach(json_object_get(entry, "values"), i, value)
		printf("%s%" PRId64 " %s", i > 0 ? ", " : "", (int64_t)json_integer_value(value), SERIES_UNIT);
	putchar('\n');
}

static int print_query(const json_t *list)
{
	const json_t *entry;
	size_t i;

	printf(TABLE_NAME "%s\n", "Object", "Metric", "Values");
	printf(TABLE_NAME "%s\n", "---------------", "----------------------------",
	       "--------------------------------------------");
	json_array_foreach(list, i, entry) {
		printf(TABLE_NAME, field_text(entry, "object"), field_text(entry, "metric"));
		print_values(entry);
	}
	return cli_finish_output();
}

static int show(const struct cli *cli, struct client *client, const struct metrics_wish *wish,
		void (*add)(void *user, const char *object, enum series_id id, enum aggregate aggregate,
			    const json_t *metric),
		int (*print)(const json_t *list))
{
	json_t *objects, *list, *document;
	int r = metrics_ask(cli, client, wish, json_pack("{s:s}", "command", "metrics"), &objects);

	if (r != CLI_DONE)
		return r;
	list = json_array();
	metrics_walk(objects, wish, add, list);
	document = json_pack("{s:O}", "metrics", list);
	r = cli->json ? document_print(document, false) : print(list);
	json_decref(document);
	json_decref(list);
	json_decref(objects);
	return r;
}

int metrics_list(const struct cli *cli, struct client *client, const struct metrics_wish *wish)
{
	return show(cli, client, wish, add_listed, print_list);
}

int metrics_query(const struct cli *cli, struct client *client, const struct metrics_wish *wish)
{
	return show(cli, client, wish, add_queried, print_query);
}

/* ---- collect ---- */

struct collection {
	const struct metrics_wish *wish;
	struct timespec time; /* of this round */
	json_t *before;       /* object and metric -> its last values, as of the last round */
	json_t *now;          /* the same with this round's; VMs that are gone are not in it any more */
	json_t *list;         /* of what was collected in this round */
};

static const char *key_of(char key[KEY_SIZE], const char *object, enum series_id id)
{
	snprintf(key, KEY_SIZE, "%d %s", id, object);
	return key;
}

/** The last values of a metric, with this round's. Belongs to the collection. */
static json_t *values_with(struct collection *collection, const char *object, enum series_id id, const json_t *metric)
{
	unsigned most = collection->wish->samples > 0 ? collection->wish->samples : 1;
	char key[KEY_SIZE];
	json_t *values = json_object_get(collection->now, key_of(key, object, id));

	if (values != NULL) /* for another aggregate of the same */
		return values;
	values = json_object_get(collection->before, key);
	values = values != NULL ? json_incref(values) : json_array();
	json_array_append(values, json_array_get(json_object_get(metric, "values"), 0));
	if (json_array_size(values) > most)
		json_array_remove(values, 0);
	json_object_set_new(collection->now, key, values);
	return values;
}

static void add_collected(void *user, const char *object, enum series_id id, enum aggregate aggregate,
			  const json_t *metric)
{
	struct collection *collection = user;
	json_t *entry;

	if (metric == NULL)
		return;
	entry = entry_of(object, id, aggregate);
	json_object_set_new(entry, "value",
			    json_integer(metric_aggregate(values_with(collection, object, id, metric), aggregate)));
	json_array_append_new(collection->list, entry);
}

static int print_collected(const struct collection *collection)
{
	const json_t *entry;
	struct tm local;
	char clock[16];
	size_t i;

	localtime_r(&collection->time.tv_sec, &local);
	strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	json_array_foreach(collection->list, i, entry)
		printf("%s.%03ld " TABLE_NAME "%" PRId64 " %s\n", clock, collection->time.tv_nsec / 1000000,
		       field_text(entry, "object"), field_text(entry, "metric"), field_integer(entry, "value"),
		       SERIES_UNIT);
	return cli_finish_output();
}

static int show_collected(const struct cli *cli, const struct collection *collection)
{
	int64_t msec = (int64_t)collection->time.tv_sec * 1000 + collection->time.tv_nsec / 1000000;
	json_t *document;
	int r;

	if (!cli->json)
		return print_collected(collection);
	document = json_pack("{s:f, s:O}", "time", (double)msec / 1000, "metrics", collection->list);
	r = document_print(document, true);
	json_decref(document);
	return r;
}

static int collect_round(const struct cli *cli, struct client *client, struct collection *collection)
{
	json_t *objects;
	int r = metrics_ask(cli, client, collection->wish, json_pack("{s:s, s:b}", "command", "metrics", "now", true),
			    &objects);

	if (r != CLI_DONE)
		return r;
	clock_gettime(CLOCK_REALTIME, &collection->time);
	collection->now = json_object();
	collection->list = json_array();
	metrics_walk(objects, collection->wish, add_collected, collection);
	r = show_collected(cli, collection);
	json_decref(objects);
	json_decref(collection->list);
	json_decref(collection->before);
	collection->before = collection->now;
	return r;
}

static int64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int metrics_collect(const struct cli *cli, struct client *client, const struct metrics_wish *wish)
{
	int64_t period_msec = (wish->period_seconds > 0 ? wish->period_seconds : 1) * INT64_C(1000);
	struct collection collection = { .wish = wish };
	int64_t next_msec = now_msec(), left_msec;
	int r;

	if (!cli->json)
		printf("%-12s " TABLE_NAME "%s\n", "Time stamp", "Object", "Metric", "Value");
	for (;;) {
		r = collect_round(cli, client, &collection);
		if (r != CLI_DONE)
			break;
		next_msec += period_msec;
		left_msec = next_msec - now_msec();
		if (left_msec < 0) /* late: no hurry to make up for it */
			next_msec -= left_msec;
		r = client_wait(client, left_msec > 0 ? (unsigned)left_msec : 0);
		if (r < 0) {
			r = client_failed(cli, r);
			break;
		}
	}
	json_decref(collection.before);
	return r;
}
