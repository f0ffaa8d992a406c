/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `pagefuse map` with a daemon and VMs: known pages are drawn where the guest sees them, as letters and in a PNG; what
 * two VMs have in common is what the kernel has them map; and nobody is told of others' VMs.
 *
 * VM a: pages 1 to 96 are b's, too, of which 1 to 48 are also c's; 97 to 104 are zeros; 105 to 128 are its own. Its
 * guest sees the first 64 pages at 0, and the others at 1 MiB.
 */
#include <fcntl.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 96u
#define FEW_COMMON 48u
#define ZERO 8u
#define PAGES 128u
#define HIGH_GFN 256u
#define NOBODY 65534
#define OBSERVERS 65533

static struct instance instance;

static struct fake_vmm start(const char *name, uint32_t common, uid_t uid)
{
	const struct fake_options options = {
		.name = name, .pages = PAGES, .common = common, .zero = ZERO, .uid = uid
	};

	return fake_start(instance.socket, &options);
}

/* Runs the shell's @command with its output in @pipe. */
static int start_shell(const char *command, const int pipe[2])
{
	int child = test_fork();

	if (child == 0) {
		dup2(pipe[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(pipe[1]);
	return child;
}

/* What `pagefuse map` with these arguments prints; the caller's. It has to succeed. */
static char *map(const char *arguments)
{
	char command[512], part[4096], *text;
	int ends[2], child, status;
	size_t size;
	ssize_t got;
	FILE *stream = open_memstream(&text, &size);

	snprintf(command, sizeof(command), "'%s' --socket '%s' map %s", getenv("PAGEFUSE"), instance.socket,
		 arguments);
	test_check(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
	child = start_shell(command, ends);
	while ((got = read(ends[0], part, sizeof(part))) > 0)
		fwrite(part, 1, (size_t)got, stream);
	close(ends[0]);
	status = test_wait_child(child);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: it fails", command);
	fclose(stream);
	return text;
}

static json_t *map_json(const char *arguments)
{
	char *text = map(arguments);
	json_t *document = json_loads(text, 0, NULL);

	test_check(json_is_object(document), "no document: %s", text);
	free(text);
	return document;
}

static void expect_begins(const char *arguments, const char *expected)
{
	char *text = map(arguments);

	test_check(strncmp(text, expected, strlen(expected)) == 0, "map %s: not\n%sbut\n%s", arguments, expected, text);
	free(text);
}

static long long pages_of(const json_t *document, const char *state)
{
	return (long long)json_integer_value(json_object_get(json_object_get(document, "pages"), state));
}

static void expect_pages(const json_t *document, const char *state, long long count)
{
	test_check(pages_of(document, state) == count, "%s: %lld pages, not %lld", state, pages_of(document, state),
		   count);
}

/* Waits until it is known where the guest of a sees its memory. */
static void await_map(void)
{
	uint64_t last = test_now_msec() + TEST_DEADLINE_SECONDS * 1000;
	size_t ranges;

	do {
		json_t *reply = instance_ask(&instance, "{\"command\":\"memory-map\",\"name\":\"a\"}");

		ranges = json_array_size(json_object_get(reply, "ranges"));
		json_decref(reply);
		test_check(test_now_msec() < last, "%zu ranges are known", ranges);
	} while (ranges != 2);
}

#define S32 "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS"
#define LOW(line) "0x000000  " line "\n0x020000  " S32 "\n"
#define HIGH "0x100000  " S32 "\n0x120000  ZZZZZZZZPPPPPPPPPPPPPPPPPPPPPPPP\n"
#define EACH_PAGE "--cell 1 --width 32 "

static void test_where(void)
{
	json_t *document;

	expect_begins(EACH_PAGE "a", LOW(S32) HIGH);
	/* Cells of 16: half of the last one but one is zero. */
	expect_begins("--cell 16 --width 8 a", "0x000000  SSSS\n0x100000  SSzP\n");
	document = map_json("--json --cell 1 a");
	expect_pages(document, "shared", COMMON);
	expect_pages(document, "zero", ZERO);
	expect_pages(document, "private", PAGES - COMMON - ZERO);
	expect_pages(document, "diverged", 0);
	test_check(json_array_size(json_object_get(document, "runs")) >= 4, "there are fewer runs than kinds of pages");
	json_decref(document);
}

/* The guest's addresses are not known: then by the order of pages. */
static void test_no_map(void)
{
	expect_begins(EACH_PAGE "b", "0x00000  " S32 "\n0x20000  " S32 "\n0x40000  " S32
				     "\n0x60000  ZZZZZZZZPPPPPPPPPPPPPPPPPPPPPPPP\n");
}

static void expect_pixel(const uint8_t *pixels, unsigned width, unsigned x, unsigned y, uint32_t rgb)
{
	const uint8_t *pixel = pixels + 3 * ((size_t)y * width + x);
	uint32_t is = (uint32_t)pixel[0] << 16 | (uint32_t)pixel[1] << 8 | pixel[2];

	test_check(is == rgb, "the pixel at %u, %u is %06x, not %06x", x, y, is, rgb);
}

static void test_png(void)
{
	char arguments[256], path[128];
	png_image image = { .version = PNG_IMAGE_VERSION };
	uint8_t *pixels;
	unsigned side;

	snprintf(path, sizeof(path), "%s/map.png", instance.directory);
	snprintf(arguments, sizeof(arguments), EACH_PAGE "--png '%s' a", path);
	free(map(arguments));
	test_check(png_image_begin_read_from_file(&image, path) != 0, "no PNG: %s", image.message);
	image.format = PNG_FORMAT_RGB;
	pixels = malloc(PNG_IMAGE_SIZE(image));
	test_check(pixels && png_image_finish_read(&image, NULL, pixels, 0, NULL) != 0, "no PNG: %s", image.message);
	side = image.width / 32;
	test_check(side > 0 && image.width == 32 * side && image.height == 5 * side, "it is %u x %u", image.width,
		   image.height);
	expect_pixel(pixels, image.width, 0, 0, 0x00d700); /* shared */
	expect_pixel(pixels, image.width, image.width - 1, side, 0x00d700);
	expect_pixel(pixels, image.width, 5, 2 * side, 0x000000);                /* nothing is there */
	expect_pixel(pixels, image.width, 8 * side - 1, 4 * side, 0xffffff);     /* zero */
	expect_pixel(pixels, image.width, 8 * side, image.height - 1, 0x6c6c6c); /* private */
	free(pixels);
	unlink(path);
}

/* How many pages of both have the same frame, as the kernel says. */
static uint32_t frames_in_common(const struct fake_vmm *a, const struct fake_vmm *b)
{
	uint32_t count = 0;

	for (uint32_t p = 1; p <= COMMON; p++) {
		uint64_t frame = fake_frame(a, p);

		count += frame != 0 && frame == fake_frame(b, p);
	}
	return count;
}

static void expect_with(const struct fake_vmm *a, const struct fake_vmm *other, const char *name, uint32_t expected)
{
	char arguments[64];
	json_t *document;

	test_check(frames_in_common(a, other) == expected, "a and %s have %u frames in common, not %u", name,
		   frames_in_common(a, other), expected);
	snprintf(arguments, sizeof(arguments), "--json --cell 1 --with %s a", name);
	document = map_json(arguments);
	expect_pages(document, "common", expected);
	test_check(pages_of(document, "shared") + expected == (long long)fake_ask(a, FAKE_STATE, 0).shared,
		   "shared and common pages do not add up");
	json_decref(document);
}

static void test_with(const struct fake_vmm *a, const struct fake_vmm *b, const struct fake_vmm *c)
{
	expect_with(a, b, "b", COMMON);
	expect_with(a, c, "c", FEW_COMMON);
	expect_begins(EACH_PAGE "--with c a",
		      "0x000000  CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC\n0x020000  CCCCCCCCCCCCCCCCSSSSSSSSSSSSSSSS\n" HIGH);
}

/* Its page is replaced by memory of its own, not written through the mapping of the store. */
static void test_written(const struct fake_vmm *a, const struct fake_vmm *b)
{
	fake_ask(a, FAKE_WRITE, 3);
	instance_await(&instance, "a", "shared_pages", COMMON - 1);
	expect_begins(EACH_PAGE "a", LOW("SSPSSSSSSSSSSSSSSSSSSSSSSSSSSSSS") HIGH);
	expect_with(a, b, "b", COMMON - 1);
}

static long long named_pages(void)
{
	json_t *document = map_json("--json --labels a");
	long long pages = (long long)json_integer_value(json_object_get(document, "named_pages"));

	json_decref(document);
	return pages;
}

static void test_labels(const struct fake_vmm *a)
{
	uint64_t last = test_now_msec() + TEST_DEADLINE_SECONDS * 1000;
	const json_t *label;
	json_t *document;

	fake_ask(a, FAKE_READ, 7);
	while (named_pages() != COMMON - 1)
		test_check(test_now_msec() < last, "%lld pages are named", named_pages());
	document = map_json("--json --labels --with c a");
	label = json_array_get(json_object_get(document, "labels"), 0);
	test_check(strcmp(json_string_value(json_object_get(label, "label")), "/image-7") == 0, "not what was read");
	test_check(json_integer_value(json_object_get(label, "shared_pages")) == COMMON - 1, "not all that is shared");
	test_check(json_integer_value(json_object_get(label, "common_pages")) == FEW_COMMON - 1, "not all in common");
	json_decref(document);
	expect_begins("--cell 16 --width 8 --labels a", "0x000000  sSSS      /image-7\n0x100000  SSzP      /image-7\n");
}

static const char *error_of(const char *more)
{
	static char code[32];
	char request[256];
	json_t *reply;
	const char *text;

	snprintf(request, sizeof(request), "{\"command\":\"map\",%s}", more);
	reply = instance_ask(&instance, request);
	text = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));
	snprintf(code, sizeof(code), "%s", text ? text : "none");
	json_decref(reply);
	return code;
}

static void expect_error(const char *request, const char *code)
{
	const char *is = error_of(request);

	test_check(strcmp(is, code) == 0, "%s: the error %s, not %s", request, is, code);
}

static void test_refused(void)
{
	expect_error("\"name\":\"none\"", "unknown-vm");
	expect_error("\"name\":\"a\",\"with\":\"none\"", "unknown-vm");
	expect_error("\"name\":\"a\",\"with\":\"a\"", "bad-request");
	expect_error("\"name\":\"a\",\"with\":\"theirs\"", "bad-request"); /* in another domain */
	expect_error("\"name\":\"a\",\"cells\":0", "bad-request");
	expect_error("\"name\":\"a\",\"cell_pages\":3", "bad-request");
	expect_error("\"name\":\"a\",\"address\":-1", "bad-request");
	expect_error("\"name\":\"a\",\"labels\":1", "bad-request");
	expect_error("\"name\":\"a\",\"address\":4503599627370495", "none");
}

/* In a child: as another user, who has the VM "theirs". */
static void as_nobody(gid_t group, void (*look)(void))
{
	int child = test_fork();

	if (child == 0) {
		fake_become(NOBODY, group);
		look();
		_exit(0);
	}
	test_end_child(child);
}

static void sees_his_own(void)
{
	expect_error("\"name\":\"theirs\"", "none");
	expect_error("\"name\":\"a\"", "not-permitted");
	expect_error("\"name\":\"theirs\",\"with\":\"a\"", "not-permitted");
	expect_error("\"name\":\"a\",\"with\":\"theirs\"", "not-permitted");
}

/* What pages are, but not which are the same. */
static void observes(void)
{
	expect_error("\"name\":\"a\"", "none");
	expect_error("\"name\":\"a\",\"labels\":true", "none");
	expect_error("\"name\":\"a\",\"with\":\"b\"", "not-permitted");
}

int main(int argc, char **argv)
{
	struct fake_vmm a, b, c, theirs;

	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root knows frames, and can be several users");
	instance_init(&instance);
	instance_settings(&instance, "[access]\ngroup = *\nobservers = 65533\n");
	instance_start(&instance);
	a = start("a", COMMON, 0);
	b = start("b", COMMON, 0);
	c = start("c", FEW_COMMON, 0);
	theirs = start("theirs", COMMON, NOBODY);
	fake_ask(&a, FAKE_MAP, HIGH_GFN);
	await_map();
	instance_await(&instance, "a", "shared_pages", COMMON);
	instance_await(&instance, "b", "shared_pages", COMMON);
	instance_await(&instance, "c", "shared_pages", FEW_COMMON);
	instance_await(&instance, NULL, "zero_pages", 4 * ZERO);
	test_where();
	test_no_map();
	test_png();
	test_with(&a, &b, &c);
	test_written(&a, &b);
	test_labels(&a);
	test_refused();
	as_nobody(NOBODY, sees_his_own);
	as_nobody(OBSERVERS, observes);
	fake_kill(&a);
	fake_kill(&b);
	fake_kill(&c);
	fake_kill(&theirs);
	instance_done(&instance);
	return 0;
}
