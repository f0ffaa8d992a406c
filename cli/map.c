/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse map: a VM's memory as a picture. Asks for all of it, cell by cell; map-picture.c draws. */
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/map-picture.h"
#include "cli/table.h"
#include "common/page.h"

#define CELLS_MAX 65536 /* that the daemon lets be asked for by their number */
#define CELL_PAGES_MAX (INT64_C(1) << 28)
#define RUNS_MAX (1u << 20)
#define LABELS_SHOWN 20

#define WIDTH 64 /* where nothing says how much room there is */
#define LINES 32
#define WIDTH_LEAST 8
#define WIDTH_MOST 128 /* unless it is asked for */
#define ADDRESS_COLUMNS 14
#define LABEL_COLUMNS 24 /* left for it at least */
#define LEGEND_LINES 14
#define PNG_WIDTH 256
#define PNG_SCALE 4

enum colour {
	COLOUR_AUTO,
	COLOUR_ALWAYS,
	COLOUR_NEVER,
};

struct map_options {
	const char *name, *with, *png;
	int64_t cell_pages; /* 0: as many as fit */
	unsigned width;     /* 0: the same */
	enum colour colour;
	bool labels;

	/* Of the terminal: */
	unsigned columns, lines; /* 0: there is none */
	bool blocks;             /* half-blocks with colours */
};

/* ---- asking ---- */

static json_t *make_request(const struct map_options *options, int64_t cells)
{
	json_t *request = json_pack("{s:s, s:s}", "command", "map", "name", options->name);

	if (options->with)
		json_object_set_new(request, "with", json_string(options->with));
	if (options->labels)
		json_object_set_new(request, "labels", json_true());
	if (options->cell_pages > 0)
		json_object_set_new(request, "cell_pages", json_integer(options->cell_pages));
	else
		json_object_set_new(request, "cells", json_integer(cells));
	return request;
}

/* The place of the label among those of the document, where it is put if it is not there. */
static size_t add_label(json_t *document, json_t *places, const json_t *label)
{
	json_t *labels = json_object_get(document, "labels"), *known;
	const char *kind = field_text(label, "kind"), *text = field_text(label, "label");
	char key[32 + 1024];
	size_t at = json_array_size(labels);
	static const char *const sums[] = { "shared_pages", "common_pages" };

	snprintf(key, sizeof(key), "%s %s", kind, text);
	if (json_object_get(places, key) == NULL) {
		json_object_set_new(places, key, json_integer((json_int_t)at));
		json_array_append_new(labels, json_pack("{s:s,s:s,s:i,s:i}", "kind", kind, "label", text, sums[0], 0,
							sums[1], 0));
	}
	at = (size_t)field_integer(places, key);
	known = json_array_get(labels, at);
	for (unsigned i = 0; i < 2; i++)
		json_object_set_new(known, sums[i],
				    json_integer(field_integer(known, sums[i]) + field_integer(label, sums[i])));
	return at;
}

/* Runs of a part name labels by their place in that part; from here on by that in the document. */
static void add_labels(json_t *document, json_t *places, const json_t *part, json_t *runs)
{
	const json_t *labels = json_object_get(part, "labels");
	size_t count = json_array_size(labels), i;
	size_t *moved = calloc(count + 1, sizeof(*moved));
	json_t *run;

	for (i = 0; moved && i < count; i++)
		moved[i] = add_label(document, places, json_array_get(labels, i));
	json_array_foreach(runs, i, run) {
		int64_t label = field_integer(run, "label");

		if (json_object_get(run, "label") == NULL)
			continue;
		if (moved && label >= 0 && (uint64_t)label < count)
			json_object_set_new(run, "label", json_integer((json_int_t)moved[label]));
		else
			json_object_del(run, "label");
	}
	free(moved);
}

static void add_sums(json_t *document, const json_t *part)
{
	json_t *sums = json_object_get(document, "pages"), *value;
	int64_t left = field_integer(part, "labels_count") - (int64_t)json_array_size(json_object_get(part, "labels"));
	const char *name;

	json_object_foreach(json_object_get(part, "pages"), name, value)
		json_object_set_new(sums, name, json_integer(field_integer(sums, name) + json_integer_value(value)));
	if (json_object_get(document, "labels") == NULL)
		return;
	json_object_set_new(document, "named_pages",
			    json_integer(field_integer(document, "named_pages") + field_integer(part, "named_pages")));
	json_object_set_new(document, "labels_left_out",
			    json_integer(field_integer(document, "labels_left_out") + left));
}

static void add_part(json_t *document, json_t *places, const json_t *part)
{
	json_t *runs = json_object_get(part, "runs");

	add_sums(document, part);
	if (json_object_get(document, "labels"))
		add_labels(document, places, part, runs);
	json_array_extend(json_object_get(document, "runs"), runs);
}

/* Its beginning: what all parts have in common. */
static json_t *new_document(const struct map_options *options, const json_t *part)
{
	json_t *document = json_pack("{s:s, s:s, s:I, s:{}, s:[]}", "name", field_text(part, "name"), "addresses",
				     field_text(part, "addresses"), "cell_bytes",
				     (json_int_t)field_integer(part, "cell_bytes"), "pages", "runs");

	if (options->with)
		json_object_set_new(document, "with", json_string(options->with));
	if (options->labels)
		json_object_set_new(document, "labels", json_array());
	return document;
}

static bool makes_sense(const json_t *part, int64_t address)
{
	const json_t *next = json_object_get(part, "next");
	int64_t cell = field_integer(part, "cell_bytes");

	return json_is_array(json_object_get(part, "runs")) && cell > 0 && cell % (int64_t)PAGE_BYTES == 0 &&
	       (json_is_null(next) || (json_is_integer(next) && json_integer_value(next) > address));
}

/* Whether the part goes on with what the document has: its VMM may have told meanwhile where the guest sees what. */
static bool goes_on(const json_t *document, const json_t *part)
{
	return strcmp(field_text(document, "addresses"), field_text(part, "addresses")) == 0 &&
	       field_integer(document, "cell_bytes") == field_integer(part, "cell_bytes");
}

static int complain_too_many(void)
{
	complain("that are more cells than a map has; give them more pages: --cell PAGES");
	return CLI_FAILED;
}

/* All parts, as one document. */
static int ask_all(const struct cli *cli, struct client *client, const struct map_options *options, int64_t cells,
		   json_t **ret)
{
	json_t *document = NULL, *places = json_object(), *part, *request = make_request(options, cells);
	int64_t address = -1;
	int r;

	do {
		r = client_call(cli, client, request, &part);
		if (r != CLI_DONE)
			break;
		if (!makes_sense(part, address)) {
			json_decref(part);
			r = client_failed(cli, -EPROTO);
			break;
		}
		if (document == NULL)
			document = new_document(options, part);
		if (!goes_on(document, part)) {
			json_decref(part);
			complain("%s: its VMM has told anew where the guest sees its memory; try again", options->name);
			r = CLI_FAILED;
			break;
		}
		add_part(document, places, part);
		address = json_is_null(json_object_get(part, "next")) ? -1 : field_integer(part, "next");
		json_decref(part);
		if (json_array_size(json_object_get(document, "runs")) > RUNS_MAX)
			r = complain_too_many();
		else if (address >= 0) {
			request = make_request(options, cells);
			json_object_del(request, "cells");
			json_object_set_new(request, "cell_pages",
					    json_integer(field_integer(document, "cell_bytes") / PAGE_BYTES));
			json_object_set_new(request, "address", json_integer(address));
		}
	} while (r == CLI_DONE && address >= 0);
	json_decref(places);
	if (r == CLI_DONE)
		*ret = document;
	else
		json_decref(document);
	return r;
}

/* ---- drawing ---- */

static int make_picture(const json_t *document, struct picture *picture)
{
	int64_t cell_bytes = field_integer(document, "cell_bytes");
	const json_t *run;
	size_t i;

	json_array_foreach(json_object_get(document, "runs"), i, run) {
		uint64_t counts[PICTURE_STATES];
		const json_t *label = json_object_get(run, "label");
		int r;

		for (unsigned k = 0; k < PICTURE_STATES; k++) {
			int64_t count = field_integer(run, picture_names[k]);

			counts[k] = count > 0 && count <= CELL_PAGES_MAX ? (uint64_t)count : 0;
		}
		r = picture_add(picture, (uint64_t)(field_integer(run, "address") / cell_bytes),
				(uint64_t)field_integer(run, "cells"), counts,
				label ? (uint32_t)json_integer_value(label) : PICTURE_NO_LABEL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The end of a label where there is no room for all of it: of a path that is what tells most. */
static void print_label(const struct map_options *options, const json_t *document, uint32_t label, unsigned column)
{
	const json_t *labels = json_object_get(document, "labels");
	char text[2048];
	size_t length, room = options->columns > column + 2 ? options->columns - column - 2 : 0;

	if (label == PICTURE_NO_LABEL)
		return;
	format_plain(text, sizeof(text), field_text(json_array_get(labels, label), "label"));
	length = strlen(text);
	if (options->columns == 0 || length < room)
		printf("  %s", text);
	else if (room > 3)
		printf("  ..%s", text + length - (room - 3));
}

static void print_rows(const struct map_options *options, const json_t *document, const struct picture *picture)
{
	uint64_t row_bytes = picture->width * (uint64_t)field_integer(document, "cell_bytes");
	int digits = snprintf(NULL, 0, "%" PRIx64, picture->rows[picture->count - 1].number * row_bytes);
	size_t count;

	for (size_t i = 0; i < picture->count; i += count) {
		uint64_t number = picture->rows[i].number;
		unsigned used = 0;

		number -= options->blocks ? number % 2 : 0;
		printf("0x%0*" PRIx64 "  ", digits, number * row_bytes);
		count = 1;
		if (options->blocks)
			count = picture_write_blocks(picture, i, stdout);
		else
			picture_write_letters(picture, i, stdout);
		for (size_t k = i; k < i + count; k++)
			for (unsigned x = 0; x < picture->width; x++)
				if (picture->rows[k].cells[x].state != PICTURE_NOTHING && x >= used)
					used = x + 1;
		if (options->labels && picture_label(picture, i, count) != PICTURE_NO_LABEL) {
			printf("%*s", (int)(picture->width - used), "");
			print_label(options, document, picture_label(picture, i, count),
				    (unsigned)digits + 4 + picture->width);
		}
		putchar('\n');
	}
}

static void print_legend(const struct map_options *options, const json_t *document, const struct picture *picture)
{
	int64_t cell = field_integer(document, "cell_bytes");
	const json_t *pages = json_object_get(document, "pages");
	struct format_buffer size, row;

	printf("%s: a cell is %s, %" PRId64 " page%s; a row is %u cells, %s%s; addresses are %s.\n"
	       "A cell has the state of most of its pages; it is %s where not all have it.\n",
	       options->name, format_bytes(&size, cell), cell / PAGE_BYTES, cell == PAGE_BYTES ? "" : "s",
	       picture->width, format_bytes(&row, cell * picture->width),
	       options->blocks && options->png == NULL ? ", and a line two rows" : "",
	       strcmp(field_text(document, "addresses"), "guest-physical") == 0
		       ? "the guest's physical ones"
		       : "places in the VMM's memory, as it does not tell the guest's",
	       options->blocks || options->png ? "darker" : "small");
	for (unsigned i = 0; i < PICTURE_STATES; i++) {
		struct picture_cell cells[2] = { { .state = (uint8_t)i }, { .state = (uint8_t)i, .mixed = true } };
		struct format_buffer text;
		uint8_t rgb[3];

		if (json_object_get(pages, picture_names[i]) == NULL)
			continue;
		picture_rgb(picture_colour(&cells[0]), rgb);
		if (options->png)
			printf("  #%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
		else if (options->blocks)
			printf("  \033[48;5;%dm  \033[48;5;%dm  \033[0m", picture_colour(&cells[0]),
			       picture_colour(&cells[1]));
		else
			printf("  %c", picture_letter(&cells[0]));
		printf("  %-8s  %5s  %s\n", picture_names[i],
		       format_pages(&text, field_integer(pages, picture_names[i])), picture_meanings[i]);
	}
}

/* ---- labels ---- */

enum column {
	COLUMN_SHARED,
	COLUMN_COMMON,
	COLUMN_KIND,
	COLUMN_LABEL
};

static int add_columns(struct libscols_table *table, int common_flags)
{
	return scols_table_new_column(table, "SHARED", 0, SCOLS_FL_RIGHT) &&
			       scols_table_new_column(table, "COMMON", 0, SCOLS_FL_RIGHT | common_flags) &&
			       scols_table_new_column(table, "KIND", 0, 0) &&
			       scols_table_new_column(table, "WHAT", 0, SCOLS_FL_NOEXTREMES)
		       ? 0
		       : -ENOMEM;
}

static int add_columns_of_one(struct libscols_table *table)
{
	return add_columns(table, SCOLS_FL_HIDDEN);
}

static int add_columns_of_two(struct libscols_table *table)
{
	return add_columns(table, 0);
}

static int add_row(struct libscols_table *table, const json_t *label)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	struct format_buffer buffer;
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, COLUMN_SHARED, format_pages(&buffer, field_integer(label, "shared_pages")), &error);
	table_set_cell(line, COLUMN_COMMON, format_pages(&buffer, field_integer(label, "common_pages")), &error);
	table_set_cell(line, COLUMN_KIND, field_text(label, "kind"), &error);
	table_set_cell(line, COLUMN_LABEL, field_text(label, "label"), &error);
	return error;
}

static int by_shared(const void *left, const void *right)
{
	const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
	int64_t more = field_integer(b, "shared_pages") - field_integer(a, "shared_pages");

	return more != 0 ? (more > 0 ? 1 : -1) : strcmp(field_text(a, "label"), field_text(b, "label"));
}

/* Those with the most shared pages, first. NULL: no memory. */
static json_t *most_shared(const json_t *labels)
{
	size_t count = json_array_size(labels);
	json_t **sorted = calloc(count + 1, sizeof(json_t *)), *most = json_array();

	for (size_t i = 0; sorted && i < count; i++)
		sorted[i] = json_array_get(labels, i);
	if (sorted)
		qsort(sorted, count, sizeof(json_t *), by_shared);
	for (size_t i = 0; sorted && i < count && i < LABELS_SHOWN; i++)
		json_array_append(most, sorted[i]);
	free(sorted);
	return most;
}

static int print_labels(const json_t *document)
{
	const json_t *labels = json_object_get(document, "labels"), *pages = json_object_get(document, "pages");
	int64_t shared = field_integer(pages, "shared") + field_integer(pages, "common");
	int64_t left = field_integer(document, "labels_left_out");
	json_t *most = most_shared(labels);
	struct format_buffer named, all;
	int r = 0;

	if (json_array_size(most) > 0) {
		putchar('\n');
		r = table_print(most, json_object_get(document, "with") ? add_columns_of_two : add_columns_of_one,
				add_row);
	}
	left += (int64_t)json_array_size(labels) - (int64_t)json_array_size(most);
	json_decref(most);
	if (r < 0) {
		complain("cannot print the table: %s", strerror(-r));
		return CLI_FAILED;
	}
	if (left > 0)
		printf("and %" PRId64 " more; `pagefuse modules` has all\n", left);
	printf("Of %s that are shared, %s are of what has a name.\n", format_pages(&all, shared),
	       format_pages(&named, field_integer(document, "named_pages")));
	return CLI_DONE;
}

/* ---- the command ---- */

static int write_png(const struct map_options *options, const struct picture *picture)
{
	FILE *file = fopen(options->png, "wbe");
	int r = file ? picture_write_png(picture, PNG_SCALE, file) : -errno;

	if (file && fclose(file) != 0 && r == 0)
		r = -errno;
	if (r == 0)
		return CLI_DONE;
	if (r == -E2BIG)
		return complain_too_many();
	complain("%s: cannot be written: %s", options->png, strerror(-r));
	return CLI_FAILED;
}

static int print_map(const struct map_options *options, const json_t *document, const struct picture *picture)
{
	const json_t *pages = json_object_get(document, "pages");
	int r = CLI_DONE;

	if (options->png)
		r = write_png(options, picture);
	else
		print_rows(options, document, picture);
	if (r != CLI_DONE)
		return r;
	print_legend(options, document, picture);
	if (options->with) {
		struct format_buffer common, shared;
		int64_t count = field_integer(pages, "common");

		printf("Of %s that %s shares, %s (%" PRId64 " pages) are the same copies as %s's.\n",
		       format_pages(&shared, count + field_integer(pages, "shared")), options->name,
		       format_pages(&common, count), count, options->with);
	}
	if (options->labels)
		r = print_labels(document);
	return r == CLI_DONE ? cli_finish_output() : r;
}

static int draw(const struct map_options *options, const json_t *document)
{
	struct picture picture = { .width = options->width };
	int r = make_picture(document, &picture);

	if (r == -E2BIG) {
		r = complain_too_many();
	} else if (r < 0) {
		complain("the map cannot be drawn: %s", strerror(-r));
		r = CLI_FAILED;
	} else if (picture.count == 0) {
		complain("%s: pagefused knows of no memory of this VM; `pagefuse doctor` tells why", options->name);
		r = CLI_FAILED;
	} else {
		r = print_map(options, document, &picture);
	}
	picture_done(&picture);
	return r;
}

static bool is_utf8(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool is = locale != (locale_t)0 && strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;

	if (locale != (locale_t)0)
		freelocale(locale);
	return is;
}

/* What fits, for what nothing was said of. */
static void look_at_terminal(struct map_options *options)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	struct winsize size = { 0 };
	bool terminal = isatty(STDOUT_FILENO);
	unsigned room, width = WIDTH_LEAST;

	if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
		options->columns = size.ws_col;
		options->lines = size.ws_row > LEGEND_LINES + 8 ? size.ws_row - LEGEND_LINES : 8;
	}
	if (options->colour == COLOUR_AUTO)
		options->blocks = terminal && is_utf8() && (no_colour == NULL || *no_colour == 0) && term && *term &&
				  strcmp(term, "dumb") != 0;
	else
		options->blocks = options->colour == COLOUR_ALWAYS;
	if (options->width > 0)
		return;
	room = ADDRESS_COLUMNS + (options->labels ? LABEL_COLUMNS : 0);
	room = options->columns > room ? options->columns - room : 0;
	while (2 * width <= room && width < WIDTH_MOST)
		width *= 2;
	options->width = options->png ? PNG_WIDTH : options->columns > 0 ? width
									 : WIDTH;
}

static int64_t cells_of(const struct map_options *options)
{
	int64_t lines = options->png ? PNG_WIDTH : options->lines > 0 ? options->lines
								      : LINES;
	int64_t cells = lines * options->width * (options->blocks && options->png == NULL ? 2 : 1);

	return cells < CELLS_MAX ? cells : CELLS_MAX;
}

static int show(const struct cli *cli, const struct map_options *options)
{
	struct client *client;
	json_t *document;
	int r = client_open(cli, &client);

	if (r != CLI_DONE)
		return r;
	r = ask_all(cli, client, options, cells_of(options), &document);
	client_free(client);
	if (r != CLI_DONE)
		return r;
	r = cli->json ? document_print(document, false) : draw(options, document);
	json_decref(document);
	return r;
}

/* A whole number from 1 to @most. @return 0: it is none. */
static int64_t parse_number(const char *text, int64_t most)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == 0 && number > 0 && number <= most ? number : 0;
}

static int take_option(struct map_options *options, int option)
{
	static const char *const colours[] = { "auto", "always", "never" };

	switch (option) {
	case 'w':
		options->with = optarg;
		return CLI_DONE;
	case 'l':
		options->labels = true;
		return CLI_DONE;
	case 'p':
		options->png = optarg;
		return CLI_DONE;
	case 'c':
		options->cell_pages = parse_number(optarg, CELL_PAGES_MAX);
		if (options->cell_pages > 0 && (options->cell_pages & (options->cell_pages - 1)) == 0)
			return CLI_DONE;
		return complain_usage("--cell: '%s' is no power of two of pages, up to 2^28", optarg);
	case 'W':
		options->width = (unsigned)parse_number(optarg, PICTURE_WIDTH_MAX);
		return options->width > 0 ? CLI_DONE
					  : complain_usage("--width: '%s' is no number of cells from 1 to %u", optarg,
							   PICTURE_WIDTH_MAX);
	case 'C':
		for (unsigned i = 0; i < 3; i++)
			if (strcmp(optarg, colours[i]) == 0) {
				options->colour = (enum colour)i;
				return CLI_DONE;
			}
		return complain_usage("--color: '%s' is not auto, always or never", optarg);
	default:
		return CLI_USAGE;
	}
}

static int run_map(struct cli *cli, int argc, char **argv)
{
	static const struct option long_options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "with", required_argument, NULL, 'w' },
		{ "labels", no_argument, NULL, 'l' },
		{ "png", required_argument, NULL, 'p' },
		{ "cell", required_argument, NULL, 'c' },
		{ "width", required_argument, NULL, 'W' },
		{ "color", required_argument, NULL, 'C' },
		{ 0 },
	};
	struct map_options options = { 0 };
	int option, r;

	while ((option = cli_next_option(cli, argc, argv, ":", long_options)) != -1) {
		r = take_option(&options, option);
		if (r != CLI_DONE)
			return r;
	}
	if (argc - optind != 1)
		return complain_usage("map takes one VM's name; `pagefuse list` shows them");
	if (cli->json && options.png)
		return complain_usage("map: either --json or --png");
	options.name = argv[optind];
	look_at_terminal(&options);
	return show(cli, &options);
}

const struct cli_command command_map = {
	.name = "map",
	.usage = "[--with OTHER] [--labels] [--cell PAGES] [--width CELLS] [--color WHEN] [--png FILE] [--json] NAME",
	.summary = "Shows a VM's memory as a picture: which pages are shared, zero, or its own.",
	.options = "  --with OTHER     show which pages are the same copies as another VM's\n"
		   "  --labels         say which files the shared pages are\n"
		   "  --cell PAGES     pages of a cell, a power of two; else as many as the picture needs\n"
		   "  --width CELLS    cells in a row; else as many as there is room for\n"
		   "  --color WHEN     auto, always or never: half-blocks with colours, or letters\n"
		   "  --png FILE       write the picture there\n"
		   "  --json           as a JSON document\n",
	.run = run_map,
};
