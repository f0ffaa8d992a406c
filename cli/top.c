/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse top: esxtop's memory screen. The command line. */
#include "cli/top.h"

#include <stdlib.h>
#include <string.h>

#define DELAY_MSEC 2000
#define COUNT_MAX 1000000000

static bool parse_count(const char *text, unsigned long *ret)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < 1 || value > COUNT_MAX)
		return false;
	*ret = value;
	return true;
}

/** Options that say what is shown. @return false after complaining. */
static bool parse_view(struct top_view *view, int option, const char *text)
{
	const char *bad = option == 'c' ? top_view_choose(view, text) : NULL;

	if (bad != NULL) {
		complain_usage("'%.*s' is no column; `pagefuse help top` shows them", (int)strcspn(bad, ","), bad);
		return false;
	}
	if (option == 'o') {
		view->sort = top_field_find(text, strlen(text));
		if (view->sort == FIELD_END) {
			complain_usage("--sort '%s': no such column; `pagefuse help top` shows them", text);
			return false;
		}
	}
	if (option == 'f') {
		if (strlen(text) >= sizeof(view->filter)) {
			complain_usage("--filter '%s': longer than any name; give a name with * and ?", text);
			return false;
		}
		strcpy(view->filter, text);
	}
	return true;
}

static bool parse_option(struct top_wish *wish, int option, const char *text)
{
	if (option == 'd' && !cli_parse_seconds(text, &wish->delay_msec)) {
		complain_usage("--delay '%s': not a time; give seconds from 0.1 to %d", text, CLI_SECONDS_MAX);
		return false;
	}
	if (option == 'n' && !parse_count(text, &wish->count)) {
		complain_usage("--count '%s': give a number from 1 to %d", text, COUNT_MAX);
		return false;
	}
	return parse_view(&wish->view, option, text);
}

static int run_top(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "batch", no_argument, NULL, 'b' },
		{ "count", required_argument, NULL, 'n' },
		{ "delay", required_argument, NULL, 'd' },
		{ "sort", required_argument, NULL, 'o' },
		{ "filter", required_argument, NULL, 'f' },
		{ "columns", required_argument, NULL, 'c' },
		{ 0 },
	};
	struct top_wish wish = { .delay_msec = DELAY_MSEC };
	bool batch = false, columns = false;
	int option;

	top_view_init(&wish.view);
	while ((option = cli_next_option(cli, argc, argv, ":bn:d:o:f:c:", options)) != -1) {
		if (option == '?' || !parse_option(&wish, option, optarg))
			return CLI_USAGE;
		batch = batch || option == 'b';
		columns = columns || option == 'c';
	}
	if (optind < argc)
		return complain_usage("'%s': top takes no argument; --filter says which VMs are shown", argv[optind]);
	if (cli->json && !batch)
		return complain_usage("--json is of --batch");
	if (columns && batch)
		return complain_usage("--columns is of the screen; with --batch all figures are told");
	return batch ? top_batch(cli, &wish) : top_screen(cli, &wish);
}

const struct cli_command command_top = {
	.name = "top",
	.usage = "[--delay SECONDS] [--count N] [--sort COLUMN] [--filter NAME] [--columns COLUMN,...]\n"
		 "                    [--batch [--json]]",
	.summary = "The VMs as in esxtop, refreshed all the time; h shows the keys.",
	.options = "  -d, --delay SECONDS  between two refreshes (2)\n"
		   "  -n, --count N        end after so many refreshes\n"
		   "  -o, --sort COLUMN    begin with these VMs sorted by COLUMN (saved)\n"
		   "  -f, --filter NAME    show VMs of this name only; * and ? stand for what is any\n"
		   "  -c, --columns LIST   begin with these columns, with commas between: name, pid, domain, mode,\n"
		   "                       ram, present, shared, zero, saved, exposed, cowh, diverged, div/s, hinted,\n"
		   "                       mappings, hold-p99, cpu, %cpu, state, why\n"
		   "  -b, --batch          no screen: CSV, a line for the host and each VM at each refresh\n"
		   "  --json               with --batch: a JSON document in one line at each refresh\n",
	.run = run_top,
};
