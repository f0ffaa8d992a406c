/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A segment whose slots were all used and are all dead goes: its file, every VMM's descriptor of it, and its memory.
 * Its number is used again, for another file, and what is shared there is right.
 */
#include <stdio.h>
#include <string.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 8192u
#define CONTENTS_PER_SEGMENT (WIRE_SEGMENT_SLOTS_MAX / PAGES)
#define CONTENTS_MAX (4 * CONTENTS_PER_SEGMENT)

static const struct fake_options options = { .name = "vm", .pages = PAGES, .common = PAGES };

/* Both VMs get a new content for every page, which a requested pass shares. */
static void share_next(const struct instance *instance, const struct fake_vmm *a, const struct fake_vmm *b,
		       uint32_t content)
{
	test_restart_clock();
	fake_ask(a, FAKE_NEXT_CONTENT, content);
	fake_ask(b, FAKE_NEXT_CONTENT, content);
	instance_await(instance, NULL, "shared_pages", 0);
	json_decref(instance_ask(instance, "{\"command\":\"scan\"}"));
	fake_ask(a, FAKE_AWAIT, PAGES);
	fake_ask(b, FAKE_AWAIT, PAGES);
	instance_await(instance, NULL, "shared_pages", 2 * PAGES);
	instance_await(instance, NULL, "common_pages", PAGES);
}

static void check_right(const struct instance *instance, const struct fake_vmm *a, const struct fake_vmm *b)
{
	test_check(fake_ask(a, FAKE_CHECK, 0).damaged == 0 && fake_ask(b, FAKE_CHECK, 0).damaged == 0,
		   "memory is not what it was");
	instance_await(instance, NULL, "store_bytes", PAGES * PAGE_BYTES);
	for (uint32_t page = 1; page <= PAGES && instance_mounts(instance) > 0; page += 1021)
		test_check(fake_ask(a, FAKE_FRAME, page).frame == fake_ask(b, FAKE_FRAME, page).frame,
			   "page %u is not in one frame", page);
}

/* Until both VMs were given a segment under the number of a closed one. */
static uint32_t go_through_segments(const struct instance *instance, const struct fake_vmm *a, const struct fake_vmm *b)
{
	struct fake_answer answer = { 0 };
	uint32_t content = 1;

	for (; content < CONTENTS_MAX && answer.reused == 0; content++) {
		share_next(instance, a, b, content);
		answer = fake_ask(a, FAKE_STATE, 0);
		test_check(answer.closes == 0 || content >= CONTENTS_PER_SEGMENT, "a segment was closed too early");
	}
	test_check(answer.closes > 0, "no segment was closed after %u contents", content);
	test_check(answer.reused > 0, "no number was used again after %u contents", content);
	test_check(fake_ask(b, FAKE_STATE, 0).reused > 0, "the second VM was not told of the reused number");
	return content;
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b;
	uint32_t contents;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 0\naudit_interval_seconds = 0\n");
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	contents = go_through_segments(&instance, &a, &b);
	check_right(&instance, &a, &b);
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	printf("%u contents of %u pages\n", contents, PAGES);
	return 0;
}
