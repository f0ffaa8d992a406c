/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of the agent: each limit at it and beyond it, and a stream in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "protocol/agent-decoder.h"

#define SESSION 0x1234

static _Alignas(8) uint8_t room[AGENT_FRAME_MAX + 64];

static void *frame(enum agent_type type, size_t length)
{
	memset(room, 0, sizeof(room));
	if (agent_is_greeting(type))
		agent_greeting_init((void *)room, type, type == AGENT_KNOCK ? 0 : SESSION, length);
	else
		agent_header_init((void *)room, type, SESSION, length);
	return room;
}

static int guest_says(void)
{
	return agent_check(room, ((struct agent_header *)room)->length, AGENT_GUEST);
}

static int host_says(void)
{
	return agent_check(room, ((struct agent_header *)room)->length, AGENT_HOST);
}

static void test_header(void **state)
{
	struct agent_header *header = frame(AGENT_BYE, sizeof(struct agent_bye_frame));

	(void)state;
	((struct agent_bye_frame *)room)->reason = AGENT_BYE_ENDED;
	assert_int_equal(guest_says(), 0);
	assert_int_equal(host_says(), 0);
	assert_int_equal(agent_check(room, header->length - 8, AGENT_GUEST), -EPROTO);
	assert_int_equal(agent_check(room, 8, AGENT_GUEST), -EPROTO);
	header->session = 0;
	assert_int_equal(guest_says(), -EPROTO);
	header->session = SESSION;
	header->reserved = 1;
	assert_int_equal(guest_says(), -EPROTO);
	header->reserved = 0;
	header->magic++;
	assert_int_equal(guest_says(), -EPROTO);
	header->magic--;
	header->length += 8;
	assert_int_equal(guest_says(), -EPROTO);
	header->length -= 8;
	for (unsigned reason = 0; reason <= AGENT_BYE_END; reason++) {
		((struct agent_bye_frame *)room)->reason = reason;
		assert_int_equal(guest_says(), reason > 0 && reason < AGENT_BYE_END ? 0 : -EPROTO);
		assert_non_null(agent_bye_text(reason));
	}
	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		header->type = (uint16_t)type;
		if (type == 0 || type >= AGENT_TYPE_END)
			assert_int_equal(guest_says(), -EPROTO);
	}
}

static void test_greetings(void **state)
{
	struct agent_greeting *greeting = frame(AGENT_KNOCK, sizeof(*greeting));
	struct agent_welcome *welcome = (void *)room;

	(void)state;
	assert_int_equal(guest_says(), 0);
	assert_int_equal(host_says(), -EPROTO);
	greeting->features = UINT64_MAX; /* of a newer agent: what is not known is ignored */
	assert_int_equal(guest_says(), 0);
	greeting->header.session = 1;
	assert_int_equal(guest_says(), -EPROTO);
	greeting->header.session = 0;
	greeting->sign[15] ^= 1;
	assert_int_equal(guest_says(), -EPROTO);
	greeting->sign[15] ^= 1;
	greeting->page_bytes = 65536;
	assert_int_equal(guest_says(), -EPROTO);
	greeting->version++; /* then only the version is looked at, whatever the rest has become */
	greeting->header.length += 64;
	assert_int_equal(guest_says(), -EPROTONOSUPPORT);

	frame(AGENT_HELLO, sizeof(struct agent_hello));
	assert_int_equal(guest_says(), 0);
	assert_int_equal(host_says(), -EPROTO);
	frame(AGENT_HELLO, sizeof(struct agent_hello) - 8);
	assert_int_equal(guest_says(), -EPROTO);

	frame(AGENT_WELCOME, sizeof(*welcome));
	welcome->modules_max = AGENT_MODULES_MAX;
	welcome->batch_pages_max = AGENT_BATCH_PAGES_MAX;
	assert_int_equal(host_says(), 0);
	assert_int_equal(guest_says(), -EPROTO);
	welcome->modules_max++;
	assert_int_equal(host_says(), -EPROTO);
	welcome->modules_max = 0;
	assert_int_equal(host_says(), -EPROTO);
	welcome->modules_max = 1;
	welcome->batch_pages_max++;
	assert_int_equal(host_says(), -EPROTO);
	welcome->batch_pages_max = 0;
	assert_int_equal(host_says(), -EPROTO);
	welcome->batch_pages_max = 1;
	assert_int_equal(host_says(), 0);
	welcome->greeting.header.session = 0;
	assert_int_equal(host_says(), -EPROTO);
}

static struct agent_ram *ram_frame(uint32_t count)
{
	struct agent_ram *ram = frame(AGENT_RAM, sizeof(*ram) + count * sizeof(ram->ranges[0]));

	ram->count = count;
	for (uint32_t i = 0; i < count && i <= AGENT_RAM_RANGES_MAX; i++)
		ram->ranges[i] = (struct agent_pages){ .first = 2 * i, .pages = 1 };
	return ram;
}

static void test_ram(void **state)
{
	struct agent_ram *ram;

	(void)state;
	ram_frame(AGENT_RAM_RANGES_MAX);
	assert_int_equal(guest_says(), 0);
	assert_int_equal(host_says(), -EPROTO);
	ram_frame(AGENT_RAM_RANGES_MAX + 1);
	assert_int_equal(guest_says(), -EPROTO);
	ram_frame(0);
	assert_int_equal(guest_says(), -EPROTO);
	ram = ram_frame(2);
	ram->count = 3;
	assert_int_equal(guest_says(), -EPROTO);
	ram = ram_frame(2);
	ram->ranges[0].pages = 2; /* up to the next */
	assert_int_equal(guest_says(), 0);
	ram->ranges[0].pages = 3;
	assert_int_equal(guest_says(), -EPROTO);
	ram->ranges[0].pages = 0;
	assert_int_equal(guest_says(), -EPROTO);
	ram->ranges[0].pages = 1;
	ram->ranges[1] = (struct agent_pages){ AGENT_PFN_END - 1, 1 };
	assert_int_equal(guest_says(), 0);
	ram->ranges[1].pages = 2;
	assert_int_equal(guest_says(), -EPROTO);
	ram->ranges[1].pages = UINT64_MAX;
	assert_int_equal(guest_says(), -EPROTO);
	ram->ranges[1] = (struct agent_pages){ AGENT_PFN_END, 1 };
	assert_int_equal(guest_says(), -EPROTO);
}

static void test_beacon(void **state)
{
	struct agent_beacon *beacon = frame(AGENT_BEACON, sizeof(*beacon));
	struct agent_proof_frame *proof;

	(void)state;
	beacon->pfn = AGENT_PFN_END - 1;
	beacon->beacon = AGENT_BEACONS_MAX - 1;
	assert_int_equal(guest_says(), 0);
	beacon->pfn++;
	assert_int_equal(guest_says(), -EPROTO);
	beacon->pfn = 0;
	beacon->beacon++;
	assert_int_equal(guest_says(), -EPROTO);

	proof = frame(AGENT_PROOF, sizeof(*proof));
	proof->beacon = AGENT_BEACONS_MAX - 1;
	for (unsigned i = 0; i <= AGENT_PROOF_END; i++) {
		proof->proof = i;
		assert_int_equal(host_says(), i > 0 && i < AGENT_PROOF_END ? 0 : -EPROTO);
		assert_int_equal(guest_says(), -EPROTO);
	}
	proof->proof = AGENT_PROVED;
	proof->beacon++;
	assert_int_equal(host_says(), -EPROTO);
}

static int module_with(const char *label, size_t bytes)
{
	struct agent_module *module = frame(AGENT_MODULE, agent_module_bytes(bytes));

	module->kind = AGENT_KIND_FILE;
	module->label_bytes = (uint16_t)bytes;
	memcpy(module->label, label, bytes);
	return guest_says();
}

static void test_module(void **state)
{
	static const char *const good[] = {
		"/usr/lib/libc.so.6",
		"a",
		"a b",
		"\xc3\xa9",
		"\xe2\x82\xac",
		"\xf0\x9f\x98\x80",
	};
	static const char *const bad[] = {
		"",
		"a\n",
		"\x1b[2J",
		"\x7f",
		"\xc3",
		"\xc0\xaf",
		"\xed\xa0\x80",
		"\xff",
		"\x80",
		"\xf4\x90\x80\x80",
		"\xc2\x9b",
		"\xe2\x82",
		"\xf8\x88\x80\x80\x80",
	};
	char longest[AGENT_LABEL_MAX + 1];
	struct agent_module *module = (void *)room;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(module_with(good[i], strlen(good[i])), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(module_with(bad[i], strlen(bad[i])), -EPROTO);
	assert_int_equal(module_with("a\0b", 3), -EPROTO);
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(module_with(longest, AGENT_LABEL_MAX), 0);
	assert_int_equal(module_with(longest, AGENT_LABEL_MAX + 1), -EPROTO);

	assert_int_equal(module_with("ab", 2), 0);
	module->label[2] = 1; /* where zeros have to be */
	assert_int_equal(guest_says(), -EPROTO);
	module->label[2] = 0;
	module->label_bytes = AGENT_LABEL_MAX; /* more than is there */
	assert_int_equal(guest_says(), -EPROTO);
	module->label_bytes = 2;
	module->module = AGENT_MODULES_MAX - 1;
	assert_int_equal(guest_says(), 0);
	module->module++;
	assert_int_equal(guest_says(), -EPROTO);
	module->module = 0;
	for (unsigned kind = 0; kind <= AGENT_KIND_END; kind++) {
		module->kind = (uint16_t)kind;
		assert_int_equal(guest_says(), kind > 0 && kind < AGENT_KIND_END ? 0 : -EPROTO);
		assert_true(strcmp(agent_kind_name(kind), "unknown") != 0 || guest_says() == -EPROTO);
	}
}

static struct agent_ranges *ranges_frame(uint32_t count)
{
	size_t length = sizeof(struct agent_ranges) + count * sizeof(struct agent_range);
	struct agent_ranges *ranges = frame(AGENT_RANGES, length);

	ranges->batch = 1;
	ranges->count = count;
	for (uint32_t i = 0; i < count && i < AGENT_RANGES_MAX; i++)
		ranges->ranges[i] = (struct agent_range){ .pfn = i, .pages = 1 };
	return ranges;
}

static void test_ranges(void **state)
{
	struct agent_ranges *ranges;

	(void)state;
	ranges_frame(AGENT_RANGES_MAX);
	assert_int_equal(guest_says(), 0);
	assert_int_equal(host_says(), -EPROTO);
	ranges_frame(AGENT_RANGES_MAX + 1);
	assert_int_equal(guest_says(), -EPROTO);
	ranges_frame(0);
	assert_int_equal(guest_says(), -EPROTO);
	ranges = ranges_frame(2);
	ranges->batch = 0;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->batch = UINT32_MAX;
	assert_int_equal(guest_says(), 0);
	ranges->count = 3;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->count = UINT32_MAX;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->count = 2;
	ranges->ranges[0].pages = AGENT_BATCH_PAGES_MAX - 1; /* the most, in both together */
	assert_int_equal(guest_says(), 0);
	ranges->ranges[0].pages++;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->ranges[0].pages = UINT32_MAX; /* the sum would overflow */
	assert_int_equal(guest_says(), -EPROTO);
	ranges->ranges[0].pages = 0;
	assert_int_equal(guest_says(), -EPROTO);

	ranges->ranges[0] = (struct agent_range){ AGENT_PFN_END - 2, AGENT_PLACE_END - 2, 2, AGENT_MODULES_MAX - 1 };
	assert_int_equal(guest_says(), 0);
	ranges->ranges[0].pfn++;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->ranges[0].pfn = UINT64_MAX;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->ranges[0].pfn = 0;
	ranges->ranges[0].place++;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->ranges[0].place = UINT64_MAX;
	assert_int_equal(guest_says(), -EPROTO);
	ranges->ranges[0].place = 0;
	ranges->ranges[0].module++;
	assert_int_equal(guest_says(), -EPROTO);
}

static void test_batches(void **state)
{
	struct agent_batch_end *end = frame(AGENT_BATCH_END, sizeof(*end));
	struct agent_credit *credit;
	struct agent_ack *ack;

	(void)state;
	end->batch = 1;
	end->pages = AGENT_BATCH_PAGES_MAX;
	end->is_last = 1;
	assert_int_equal(guest_says(), 0);
	end->is_last = 2;
	assert_int_equal(guest_says(), -EPROTO);
	end->is_last = 0;
	end->pages++;
	assert_int_equal(guest_says(), -EPROTO);
	end->pages = 0;
	end->batch = 0;
	assert_int_equal(guest_says(), -EPROTO);

	ack = frame(AGENT_ACK, sizeof(*ack));
	ack->batch = 1;
	ack->taken = AGENT_BATCH_PAGES_MAX;
	ack->credit = AGENT_CREDIT_MAX;
	assert_int_equal(host_says(), 0);
	assert_int_equal(guest_says(), -EPROTO);
	ack->credit++;
	assert_int_equal(host_says(), -EPROTO);
	ack->credit = 0;
	ack->taken++;
	assert_int_equal(host_says(), -EPROTO);
	ack->taken = 0;
	ack->batch = 0;
	assert_int_equal(host_says(), -EPROTO);

	credit = frame(AGENT_CREDIT, sizeof(*credit));
	credit->pages = AGENT_CREDIT_MAX;
	assert_int_equal(host_says(), 0);
	assert_int_equal(guest_says(), -EPROTO);
	credit->pages++;
	assert_int_equal(host_says(), -EPROTO);
}

/* ---- the stream ---- */

static struct agent_decoder decoder;

/* Gives @bytes to the decoder, one by one. @return what the last look for a frame said. */
static int feed(const void *data, size_t bytes, const struct agent_header **ret_frame)
{
	int r = -EAGAIN;
	size_t free_bytes;

	for (size_t i = 0; i < bytes; i++) {
		assert_int_equal(r, -EAGAIN);
		*(uint8_t *)agent_decoder_room(&decoder, &free_bytes) = ((const uint8_t *)data)[i];
		assert_true(free_bytes > 0);
		agent_decoder_add(&decoder, 1);
		r = agent_decoder_next(&decoder, ret_frame);
	}
	return r;
}

static void test_pieces(void **state)
{
	const struct agent_header *got;

	(void)state;
	agent_decoder_init(&decoder, AGENT_GUEST);
	frame(AGENT_HELLO, sizeof(struct agent_hello));
	assert_int_equal(feed(room, sizeof(struct agent_hello), &got), 0);
	assert_int_equal(got->type, AGENT_HELLO);
	agent_decoder_settle(&decoder, got->session);
	for (int i = 0; i < 3; i++) {
		ranges_frame(AGENT_RANGES_MAX);
		assert_int_equal(feed(room, ((struct agent_header *)room)->length, &got), 0);
		assert_int_equal(got->type, AGENT_RANGES);
	}
	((struct agent_header *)room)->session++; /* what an agent says that knows nothing of this session */
	assert_int_equal(feed(room, ((struct agent_header *)room)->length, &got), -ESTALE);
}

/* What an earlier connection left in the port is left out, up to the greeting, wherever it was cut. */
static void test_seeking(void **state)
{
	static uint8_t stream[2 * AGENT_FRAME_MAX];
	const struct agent_header *got;
	size_t tail;

	(void)state;
	ranges_frame(20);
	tail = ((struct agent_header *)room)->length;
	for (size_t cut = 0; cut < tail; cut += 5) {
		ranges_frame(20);
		memcpy(stream, room + cut, tail - cut);
		frame(AGENT_KNOCK, sizeof(struct agent_greeting));
		memcpy(stream + tail - cut, room, sizeof(struct agent_greeting));
		agent_decoder_init(&decoder, AGENT_GUEST);
		assert_int_equal(feed(stream, tail - cut + sizeof(struct agent_greeting), &got), 0);
		assert_int_equal(got->type, AGENT_KNOCK);
		assert_int_equal(decoder.skipped, tail - cut + sizeof(struct agent_greeting));
	}
}

static void test_skipped_max(void **state)
{
	static const uint8_t zeros[1024];
	const struct agent_header *got;

	(void)state;
	agent_decoder_init(&decoder, AGENT_GUEST);
	for (unsigned i = 0; i < AGENT_SKIPPED_MAX / sizeof(zeros); i++)
		assert_int_equal(feed(zeros, sizeof(zeros), &got), -EAGAIN);
	assert_int_equal(feed(zeros, 1, &got), -EPROTO);
}

/* Greetings to sessions that were count as what is left out; and in a session there are none to another one. */
static void test_greetings_without_end(void **state)
{
	const size_t length = sizeof(struct agent_hello);
	const struct agent_header *got;

	(void)state;
	agent_decoder_init(&decoder, AGENT_GUEST);
	frame(AGENT_HELLO, length);
	for (unsigned i = 0; i <= AGENT_SKIPPED_MAX / length; i++)
		assert_int_equal(feed(room, length, &got), 0);
	assert_int_equal(feed(room, 1, &got), -EPROTO);
	agent_decoder_init(&decoder, AGENT_GUEST);
	assert_int_equal(feed(room, length, &got), 0);
	agent_decoder_settle(&decoder, got->session);
	assert_int_equal(feed(room, length, &got), 0); /* whoever reads them knows that it is settled */
	frame(AGENT_KNOCK, sizeof(struct agent_greeting));
	assert_int_equal(feed(room, sizeof(struct agent_greeting), &got), 0);
	((struct agent_header *)frame(AGENT_HELLO, length))->session++;
	assert_int_equal(feed(room, length, &got), -ESTALE);
}

static void test_absurd_length(void **state)
{
	struct agent_header *header = frame(AGENT_HELLO, sizeof(struct agent_hello));
	const struct agent_header *got;

	(void)state;
	agent_decoder_init(&decoder, AGENT_GUEST);
	assert_int_equal(feed(room, header->length, &got), 0);
	agent_decoder_settle(&decoder, SESSION);
	agent_header_init(header, AGENT_RANGES, SESSION, UINT32_MAX);
	assert_int_equal(feed(room, sizeof(*header), &got), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_greetings),
		cmocka_unit_test(test_ram),
		cmocka_unit_test(test_beacon),
		cmocka_unit_test(test_module),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_seeking),
		cmocka_unit_test(test_skipped_max),
		cmocka_unit_test(test_greetings_without_end),
		cmocka_unit_test(test_absurd_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
