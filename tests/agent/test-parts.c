/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the agent is made of, each part by itself: /proc/iomem, what has been sent, what is held, labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/held.h"
#include "agent/hint.h"
#include "agent/iomem.h"
#include "agent/sent.h"
#include "common/page.h"

static struct iomem iomem;
static unsigned line;

static int read_text(const char *text)
{
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	int r;

	assert_non_null(file);
	r = iomem_read(file, &iomem, &line);
	fclose(file);
	return r;
}

static void test_iomem(void **state)
{
	(void)state;
	assert_int_equal(read_text("00000000-00000fff : Reserved\n"
				   "00001000-0009fbff : System RAM\n"
				   "000f0000-000fffff : System ROM\n"
				   "00100000-bffdefff : System RAM\n"
				   "  01000800-01c00eb0 : Kernel code\n"
				   "  01e00000-02a33fff : Kernel rodata\n"
				   "  02c00000-02fb2abf : Kernel data\n"
				   "fd000000-fdffffff : PCI Bus 0000:00\n"
				   "100000000-13fffffff : System RAM (virtio_mem)\n"),
			 0);
	assert_int_equal(iomem.ram_count, 3);
	assert_int_equal(iomem.ram[0].first, 1);
	assert_int_equal(iomem.ram[0].pages, 0x9e); /* whole pages only */
	assert_int_equal(iomem.ram[1].first, 0x100);
	assert_int_equal(iomem.ram[1].pages, 0xbffdf - 0x100);
	assert_int_equal(iomem.ram[2].first, 0x100000);
	assert_int_equal(iomem.ram[2].pages, 0x40000);
	assert_int_equal(iomem.kernel_count, 2);
	assert_int_equal(iomem.kernel[0].first, 0x1001);
	assert_int_equal(iomem.kernel[0].pages, 0x1c00 - 0x1001);
	assert_int_equal(iomem.kernel[1].pages, 0xc34);
	assert_int_equal(read_text("00000000-ffffffffffffffff : System RAM\n"), -EINVAL);
	assert_int_equal(read_text("00000000-fffffffffffff : System RAM\n"), 0);
	assert_int_equal(iomem.ram[0].pages, AGENT_PFN_END);
}

static void test_iomem_bad(void **state)
{
	static const char *const bad[] = {
		"1000-\n",
		"x\n",
		"1000 : System RAM\n",
		"2000-1000 : System RAM\n",
		"-1000 : System RAM\n",
		"1000-1fff: System RAM\n",
		"1000-99999999999999999 : System RAM\n",
	};
	char text[8192] = "", one[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(read_text(bad[i]), -EINVAL);
		assert_int_equal(line, 1);
	}
	assert_int_equal(read_text("00005000-00006fff : System RAM\n00001000-00002fff : System RAM\n"), -EINVAL);
	assert_int_equal(line, 2);
	assert_int_equal(read_text("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n"), -EPERM);
	assert_int_equal(read_text("00000000-00000fff : Reserved\n"), -ENODATA);
	for (unsigned i = 0; i < AGENT_RAM_RANGES_MAX; i++) {
		snprintf(one, sizeof(one), "%x-%x : System RAM\n", i * 0x2000, i * 0x2000 + 0xfff);
		strcat(text, one);
	}
	assert_int_equal(read_text(text), 0);
	assert_int_equal(iomem.ram_count, AGENT_RAM_RANGES_MAX);
	strcat(text, "f0000000-f0000fff : System RAM\n");
	assert_int_equal(read_text(text), -E2BIG);
}

static void test_sent(void **state)
{
	struct sent sent;
	struct sent_file *file;
	uint64_t words[2] = { 1, 2 };
	bool met;

	(void)state;
	assert_int_equal(sent_init(&sent), 0);
	sent_begin(&sent);
	assert_null(sent_find(&sent, 5, &met));
	file = sent_add(&sent, 5);
	assert_non_null(file);
	file->signature = 7;
	assert_ptr_equal(sent_find(&sent, 5, &met), file);
	assert_true(met);
	sent_begin(&sent);
	assert_ptr_equal(sent_find(&sent, 5, &met), file);
	assert_false(met);
	assert_int_equal(file->signature, 7);

	/* Keys that want the same place; what two walks have not met makes room, and what is behind it stays. */
	assert_non_null(sent_add(&sent, 5 + SENT_FILES_MAX));
	assert_ptr_equal(sent_add(&sent, 5 + 2 * SENT_FILES_MAX), file + 2);
	for (int i = 0; i < 2; i++) {
		sent_begin(&sent);
		assert_ptr_equal(sent_find(&sent, 5 + 2 * SENT_FILES_MAX, &met), file + 2);
	}
	assert_ptr_equal(sent_add(&sent, 5 + 3 * (uint64_t)SENT_FILES_MAX), file);
	assert_ptr_equal(sent_find(&sent, 5 + 2 * SENT_FILES_MAX, &met), file + 2);
	sent_clear(&sent);
	assert_null(sent_find(&sent, 5 + 2 * SENT_FILES_MAX, &met));

	/* Full: refused, and nothing lost. */
	for (unsigned i = 1; i <= SENT_FILES_MAX; i++)
		assert_non_null(sent_add(&sent, i));
	assert_null(sent_add(&sent, SENT_FILES_MAX + 1));
	assert_non_null(sent_find(&sent, 1, &met));
	assert_true(sent_mix(words, 2) != sent_mix(words, 1));
	sent_done(&sent);
}

static bool is_mapped(void *mapping)
{
	unsigned char present;

	return mincore(mapping, PAGE_BYTES, &present) == 0;
}

static void test_held(void **state)
{
	struct held held;
	void *mappings[4];

	(void)state;
	assert_int_equal(held_init(&held, 8), 0);
	for (int i = 0; i < 4; i++) {
		mappings[i] = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(mappings[i] != MAP_FAILED && held_room(&held) == 8U - 2 * (unsigned)i);
		held_add(&held, mappings[i], PAGE_BYTES, 2, (uint32_t)i / 2 + 1);
	}
	assert_int_equal(held_room(&held), 0);
	held_release(&held, 1);
	assert_true(!is_mapped(mappings[0]) && !is_mapped(mappings[1]) && is_mapped(mappings[2]));
	assert_int_equal(held_room(&held), 4);
	held_release(&held, 1);
	assert_true(is_mapped(mappings[2]));
	held_done(&held);
	assert_false(is_mapped(mappings[3]));
}

static void test_labels(void **state)
{
	char label[AGENT_LABEL_MAX + 1], text[400];
	static const struct {
		const char *text, *label;
	} cases[] = {
		{ "/usr/bin/env", "/usr/bin/env" },
		{ "", "?" },
		{ "a\nb", "a?b" },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "a\xc3", "a?" },
		{ "\xff\xe2\x82\xac\x80", "?\xe2\x82\xac?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		label_from(cases[i].text, label);
		assert_string_equal(label, cases[i].label);
		assert_true(label_is_valid(label, strlen(label)));
	}
	memset(text, 'x', sizeof(text));
	text[AGENT_LABEL_MAX] = 0;
	label_from(text, label);
	assert_string_equal(label, text);
	text[AGENT_LABEL_MAX] = 'y';
	text[AGENT_LABEL_MAX + 1] = 0;
	label_from(text, label);
	assert_int_equal(strlen(label), AGENT_LABEL_MAX);
	assert_memory_equal(label, "...x", 4);
	assert_int_equal(label[AGENT_LABEL_MAX - 1], 'y');
	for (int i = 0; i < 300; i += 2) /* cut in the middle of a character */
		memcpy(text + i, "\xc3\xa9", 2);
	text[301] = 0;
	label_from(text, label);
	assert_true(label_is_valid(label, strlen(label)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_iomem),
		cmocka_unit_test(test_iomem_bad),
		cmocka_unit_test(test_sent),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
