/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the agent would name, against what the kernel says of the same files: each page that is in memory is named
 * once, by its page frame and its place; nothing of what not everybody may read, and nothing is read in.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/agent/place.h"
#include "tests/support/test.h"

#define PAGES 300 /* more than one window, and no multiple of it */
#define COLD_PAGES 20

static json_t *run_agent(const char *more)
{
	char command[3 * PATH_MAX];
	json_error_t error;
	json_t *said;
	FILE *output;

	snprintf(command, sizeof(command), "'%s' --dry-run --json --config '%s' %s", getenv("PAGEFUSE_AGENT"),
		 place_path("conf"), more);
	output = popen(command, "re"); // NOLINT(cert-env33-c): paths of this test
	test_check(output != NULL, "%s: %s", command, strerror(errno));
	said = json_loadf(output, 0, &error);
	test_check(said != NULL, "%s: %s at line %d", command, error.text, error.line);
	test_check(pclose(output) == 0, "%s failed", command);
	return said;
}

static const json_t *module_of(const json_t *said, const char *label)
{
	const json_t *modules = json_object_get(said, "modules"), *found = NULL;

	for (size_t i = 0; i < json_array_size(modules); i++) {
		const json_t *module = json_array_get(modules, i);

		if (strcmp(json_string_value(json_object_get(module, "label")), label) != 0)
			continue;
		test_check(found == NULL, "%s is named twice", label);
		found = module;
	}
	return found;
}

/* All pages of @name from @first to @end are named, in their order, by the frames that they have, and no others. */
static void check_module(const json_t *said, const char *kind, const char *name, uint64_t first, uint64_t end)
{
	const json_t *module = module_of(said, place_path(name)), *ranges;

	test_check(module != NULL, "%s is not named", name);
	test_check(strcmp(json_string_value(json_object_get(module, "kind")), kind) == 0, "%s is no %s", name, kind);
	ranges = json_object_get(module, "ranges");
	for (size_t i = 0; i < json_array_size(ranges); i++) {
		const json_t *range = json_array_get(ranges, i);
		uint64_t pfn = (uint64_t)json_integer_value(json_array_get(range, 0));
		uint64_t place = (uint64_t)json_integer_value(json_array_get(range, 1));
		uint64_t pages = (uint64_t)json_integer_value(json_array_get(range, 2));

		test_check(place == first && pages > 0, "%s: page %" PRIu64 " in place of %" PRIu64, name, place,
			   first);
		for (uint64_t j = 0; j < pages; j++)
			test_check(place_frame(name, place + j) == pfn + j,
				   "%s: page %" PRIu64 " is not at 0x%" PRIx64, name, place + j, pfn + j);
		first += pages;
	}
	test_check(first == end, "%s: named up to page %" PRIu64, name, first);
}

static void make_files(void)
{
	place_file("many", PAGES);
	place_file("one", 1);
	place_text("short", "less than a page");
	place_text("a \"b\\c", "a name that has to be quoted");
	place_file("cold", COLD_PAGES);
	place_file("private", 5);
	test_check(chmod(place_path("private"), 0640) == 0, "chmod: %s", strerror(errno));
	place_file("left-out", 5);
	test_check(mkdir(place_path("closed"), 0750) == 0 && mkdir(place_path("open"), 0755) == 0, "mkdir: %s",
		   strerror(errno));
	place_file("closed/file", 5);
	place_file("open/file", 5);
	place_text("empty", "%s", "");
	test_check(symlink("one", place_path("link")) == 0, "symlink: %s", strerror(errno));
	test_check(link(place_path("one"), place_path("open/same")) == 0, "link: %s", strerror(errno));
	test_check(mkfifo(place_path("fifo"), 0644) == 0, "mkfifo: %s", strerror(errno));
	place_text("conf", "kernel = no\nprograms = no\nroot = %s\nexclude = %s\n", place_path(""),
		   place_path("left-out"));
	place_evict("cold");
}

static void test_files(void)
{
	static const char *const no[] = { "cold", "private", "left-out", "closed/file",
					  "empty", "link", "fifo", "conf2" };
	json_t *said = run_agent("");

	check_module(said, "file", "many", 0, PAGES);
	check_module(said, "file", "short", 0, 1);
	check_module(said, "file", "a \"b\\c", 0, 1);
	check_module(said, "file", "open/file", 0, 5);
	test_check(!module_of(said, place_path("one")) != !module_of(said, place_path("open/same")),
		   "a file with two names is not named once");
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		test_check(module_of(said, place_path(no[i])) == NULL, "%s is named", no[i]);
	test_check(place_cached("cold") == 0, "a file was read in");
	json_decref(said);
}

/* Of a file that is partly in memory only that part, and the rest stays where it is. */
static void test_part(void)
{
	char text[1];
	FILE *file;
	json_t *said;
	unsigned cached;

	place_evict("many");
	file = fopen(place_path("many"), "re");
	test_check(file != NULL, "many: %s", strerror(errno));
	setvbuf(file, NULL, _IONBF, 0);
	posix_fadvise(fileno(file), 0, 0, POSIX_FADV_RANDOM); /* without reading ahead */
	test_check(fseek(file, 200 * 4096, SEEK_SET) == 0 && fread(text, 1, 1, file) == 1, "many: %s",
		   strerror(errno));
	fclose(file);
	cached = place_cached("many");
	if (cached != 1)
		test_skip("reading a byte of a file brings in %u pages here", cached);
	said = run_agent("");
	check_module(said, "file", "many", 200, 201);
	test_check(place_cached("many") == 1, "%u pages are in memory afterwards", place_cached("many"));
	json_decref(said);
}

static void check_text(const json_t *value, const char *wanted)
{
	char *text = json_dumps(value, JSON_COMPACT);

	test_check(text != NULL && strcmp(text, wanted) == 0, "%s in place of %s", text, wanted);
	free(text);
}

/* Programs are what processes have mapped for execution. */
static void test_programs(void)
{
	char more[PATH_MAX + 300];
	const json_t *kernel;
	json_t *said;

	test_check(mkdir(place_path("root"), 0755) == 0 && mkdir(place_path("root/proc"), 0755) == 0 &&
			   mkdir(place_path("root/proc/77"), 0755) == 0,
		   "mkdir: %s", strerror(errno));
	place_text(
		"root/proc/iomem",
		"00001000-0009ffff : System RAM\n00100000-3fffffff : System RAM\n  01000000-010027ff : Kernel code\n"
		"  01400000-01400fff : Kernel rodata\n");
	place_text("root/proc/77/maps",
		   "400000-401000 r--p 00000000 08:01 1                 %s\n"
		   "401000-402000 r-xp 00001000 08:01 2                 %s\n"
		   "402000-403000 r-xp 00001000 08:01 2                 %s\n"
		   "403000-404000 r-xp 00001000 08:01 3                 %s (deleted)\n"
		   "404000-405000 r-xp 00001000 08:01 4                 /no/such/file\n"
		   "ffff0000-ffff1000 r-xp 00000000 00:00 0             [vdso]\n",
		   place_path("short"), place_path("one"), place_path("one"), place_path("many"));
	place_text("conf", "files = no\n");
	snprintf(more, sizeof(more), "--root '%s'", place_path("root"));
	said = run_agent(more);
	check_module(said, "program", "one", 0, 1);
	test_check(module_of(said, place_path("short")) == NULL, "what is not executed is a program");
	test_check(module_of(said, place_path("many")) == NULL, "what is deleted is a program");
	check_text(json_object_get(said, "ram"), "[[1,159],[256,261888]]");
	kernel = json_array_get(json_object_get(said, "modules"), 0);
	check_text(json_object_get(kernel, "ranges"), "[[4096,0,2],[5120,1024,1]]");
	test_check(strncmp(json_string_value(json_object_get(kernel, "label")), "kernel ", 7) == 0,
		   "the kernel's label");
	json_decref(said);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	place_make();
	make_files();
	test_files();
	test_programs();
	place_text("conf", "kernel = no\nprograms = no\nroot = %s\n", place_path(""));
	test_part();
	return 0;
}
