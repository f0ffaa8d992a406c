/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/dry-run.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/look.h"

struct dry_run {
	struct hint_sink sink;
	FILE *file;
	bool is_json;
	uint32_t modules; /* so far; the last one is open */
	enum agent_kind kind;
	char label[AGENT_LABEL_MAX + 1];
	uint64_t pages, ranges, all_pages;
	struct agent_range last; /* not written yet, if it has pages */
};

static void write_json_text(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text != 0; text++) { /* labels have no control characters */
		if (*text == '"' || *text == '\\')
			fputc('\\', file);
		fputc(*text, file);
	}
	fputc('"', file);
}

static void end_range(struct dry_run *run)
{
	if (run->last.pages == 0)
		return;
	if (run->is_json)
		fprintf(run->file, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu32 "]", run->ranges > 0 ? "," : "",
			run->last.pfn, run->last.place, run->last.pages);
	run->ranges++;
	run->pages += run->last.pages;
	run->last.pages = 0;
}

static void end_module(struct dry_run *run)
{
	end_range(run);
	if (run->modules == 0)
		return;
	if (run->is_json)
		fputs("]}", run->file);
	else if (run->pages > 0)
		fprintf(run->file, "%-8s %8" PRIu64 " %8" PRIu64 "  %s\n", agent_kind_name(run->kind), run->pages,
			run->ranges, run->label);
	run->all_pages += run->pages;
	run->pages = run->ranges = 0;
}

static int on_module(struct hint_sink *sink, enum agent_kind kind, const char *text, uint32_t *ret_module)
{
	struct dry_run *run = (void *)sink;

	end_module(run);
	run->kind = kind;
	label_from(text, run->label);
	if (run->is_json) {
		fprintf(run->file, "%s\n{\"kind\":\"%s\",\"label\":", run->modules > 0 ? "," : "",
			agent_kind_name(kind));
		write_json_text(run->file, run->label);
		fputs(",\"ranges\":[", run->file);
	}
	*ret_module = run->modules++;
	return 0;
}

static int on_room(struct hint_sink *sink, unsigned pages, unsigned *ret_pages)
{
	(void)sink;
	*ret_pages = pages;
	return 0;
}

static int on_take(struct hint_sink *sink, const struct hint *hint)
{
	struct dry_run *run = (void *)sink;

	for (unsigned i = 0; i < hint->pages; i++) {
		if (hint->pfns[i] == 0)
			continue;
		if (run->last.pages > 0 && run->last.pfn + run->last.pages == hint->pfns[i] &&
		    run->last.place + run->last.pages == hint->place + i) {
			run->last.pages++;
			continue;
		}
		end_range(run);
		run->last = (struct agent_range){ hint->pfns[i], hint->place + i, 1, hint->module };
	}
	if (hint->mapping != NULL)
		munmap(hint->mapping, hint->mapping_bytes);
	return ferror(run->file) ? -EIO : 0;
}

static int on_turn(struct hint_sink *sink)
{
	return ferror(((struct dry_run *)(void *)sink)->file) ? -EIO : 0;
}

static void write_ram(const struct iomem *iomem, bool is_json, FILE *file)
{
	if (is_json)
		fputs("{\"ram\":[", file);
	for (unsigned i = 0; i < iomem->ram_count; i++)
		if (is_json)
			fprintf(file, "%s[%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", iomem->ram[i].first,
				iomem->ram[i].pages);
		else
			fprintf(file, "ram      %8" PRIu64 " %8s  from page frame 0x%" PRIx64 " on\n",
				iomem->ram[i].pages, "", iomem->ram[i].first);
	if (is_json)
		fputs("],\"modules\":[", file);
}

int dry_run(const struct config *config, const struct iomem *iomem, int pagemap, const char *root, bool is_json,
	    FILE *file)
{
	struct dry_run run = { .sink = { on_module, on_room, on_take, on_turn }, .file = file, .is_json = is_json };
	struct look look;
	int r = look_init(&look, config, iomem, pagemap, &run.sink);

	if (r < 0)
		return r;
	look.root = root;
	if (!is_json)
		fprintf(file, "%-8s %8s %8s  %s\n", "KIND", "PAGES", "RANGES", "NAME");
	write_ram(iomem, is_json, file);
	r = look_programs(&look);
	if (r == 0)
		r = look_files(&look);
	end_module(&run);
	if (is_json)
		fprintf(file, "\n],\"pages\":%" PRIu64 ",\"files\":%u}\n", run.all_pages, look.files);
	else
		fprintf(file, "%" PRIu64 " pages of %" PRIu32 " modules, among %u files looked at\n", run.all_pages,
			run.modules, look.files);
	look_done(&look);
	if (r == 0 && (fflush(file) != 0 || ferror(file)))
		r = -EIO;
	return r;
}
