/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's side of a conversation with an agent, against a guest that the test plays: each limit at it and beyond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/agent-session.h"

#define SECOND UINT64_C(1000000)
#define BELOW 0x1000   /* page frames that this daemon knows, 4096 of each: page = pfn - BELOW + 1, */
#define ABOVE 0x100000 /* and pfn - ABOVE + ABOVE_PAGE */
#define ABOVE_PAGE 100000
#define KNOWN 4096

static struct agent_session session;
static uint64_t now;

/* What the session has said and asked for. */
static struct {
	uint32_t welcomes, credit, credits, acks, byes, proofs;
	uint32_t last_ack, last_taken, last_bye, last_proof;
	uint32_t looks, look_page, hints, hinted, last_hint, last_hint_count, last_module, batches;
} seen;

static void on_send(void *context, const struct agent_header *frame)
{
	(void)context;
	assert_int_equal(agent_check(frame, frame->length, AGENT_HOST), 0);
	assert_int_equal(frame->session, session.id);
	switch (frame->type) {
	case AGENT_WELCOME:
		seen.welcomes++;
		break;
	case AGENT_CREDIT:
		seen.credits++;
		seen.credit += ((const struct agent_credit *)(const void *)frame)->pages;
		break;
	case AGENT_ACK:
		seen.acks++;
		seen.credit += ((const struct agent_ack *)(const void *)frame)->credit;
		seen.last_ack = ((const struct agent_ack *)(const void *)frame)->batch;
		seen.last_taken = ((const struct agent_ack *)(const void *)frame)->taken;
		break;
	case AGENT_PROOF:
		seen.proofs++;
		seen.last_proof = ((const struct agent_proof_frame *)(const void *)frame)->proof;
		break;
	default:
		assert_int_equal(frame->type, AGENT_BYE);
		seen.byes++;
		seen.last_bye = ((const struct agent_bye_frame *)(const void *)frame)->reason;
	}
}

static uint32_t on_page_at(void *context, uint64_t gfn)
{
	(void)context;
	if (gfn >= BELOW && gfn < BELOW + KNOWN)
		return (uint32_t)(gfn - BELOW + 1);
	return gfn >= ABOVE && gfn < ABOVE + KNOWN ? (uint32_t)(gfn - ABOVE + ABOVE_PAGE) : 0;
}

static void on_look(void *context, uint32_t beacon, uint32_t page, const uint8_t *bytes)
{
	(void)context;
	(void)beacon;
	assert_int_equal(bytes[17], 17);
	seen.looks++;
	seen.look_page = page;
}

static void on_hint(void *context, uint32_t page, uint32_t count, uint32_t module)
{
	(void)context;
	assert_true(count > 0 && page > 0);
	assert_true(module < session.module_count);
	seen.last_module = module;
	seen.hints++;
	seen.hinted += count;
	seen.last_hint = page;
	seen.last_hint_count = count;
}

static void on_end_batch(void *context)
{
	(void)context;
	seen.batches++;
}

static const struct agent_session_owner owner = { on_send, on_page_at, on_look, on_hint, on_end_batch };

/* ---- the guest ---- */

static _Alignas(8) uint8_t room[AGENT_FRAME_MAX];

static void *frame(enum agent_type type, size_t length)
{
	memset(room, 0, sizeof(room));
	if (agent_is_greeting(type))
		agent_greeting_init((void *)room, type, type == AGENT_KNOCK ? 0 : session.id, length);
	else
		agent_header_init((void *)room, type, session.id, length);
	return room;
}

static int say(void)
{
	const struct agent_header *header = (const void *)room;

	assert_int_equal(agent_check(room, header->length, AGENT_GUEST), 0);
	return agent_session_take(&session, header);
}

static int say_knock(void)
{
	frame(AGENT_KNOCK, sizeof(struct agent_greeting));
	return say();
}

static int say_hello(void)
{
	frame(AGENT_HELLO, sizeof(struct agent_hello));
	return say();
}

static int say_ram(void)
{
	struct agent_ram *ram = frame(AGENT_RAM, sizeof(*ram) + sizeof(ram->ranges[0]));

	ram->count = 1;
	ram->ranges[0] = (struct agent_pages){ 1, 0x200000 };
	return say();
}

static int say_beacon(uint32_t which, uint64_t pfn)
{
	struct agent_beacon *beacon = frame(AGENT_BEACON, sizeof(*beacon));

	beacon->beacon = which;
	beacon->pfn = pfn;
	for (size_t i = 0; i < sizeof(beacon->bytes); i++)
		beacon->bytes[i] = (uint8_t)i;
	return say();
}

static int say_module_of(uint32_t number, size_t bytes)
{
	struct agent_module *module = frame(AGENT_MODULE, agent_module_bytes(bytes));

	module->module = number;
	module->kind = AGENT_KIND_FILE;
	module->label_bytes = (uint16_t)bytes;
	memset(module->label, 'x', bytes);
	return say();
}

static int say_range(uint32_t batch, uint64_t pfn, uint32_t pages, uint32_t module)
{
	struct agent_ranges *ranges = frame(AGENT_RANGES, sizeof(*ranges) + sizeof(ranges->ranges[0]));

	ranges->batch = batch;
	ranges->count = 1;
	ranges->ranges[0] = (struct agent_range){ .pfn = pfn, .pages = pages, .module = module };
	return say();
}

static int say_end(uint32_t batch, uint32_t pages, bool is_last)
{
	struct agent_batch_end *end = frame(AGENT_BATCH_END, sizeof(*end));

	end->batch = batch;
	end->pages = pages;
	end->is_last = is_last;
	return say();
}

static int begin(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	now = SECOND;
	assert_int_equal(agent_session_init(&session, &owner, NULL, now), 0);
	assert_int_equal(seen.welcomes, 1);
	return 0;
}

static int end(void **state)
{
	(void)state;
	agent_session_done(&session);
	return 0;
}

/* Up to where pages may be named, of one module. */
static void open_session(void)
{
	assert_int_equal(say_hello(), 0);
	assert_int_equal(say_ram(), 0);
	assert_int_equal(say_beacon(0, BELOW + 5), 0);
	agent_session_looked(&session, 0, AGENT_PROVED);
	assert_int_equal(say_module_of(0, 10), 0);
	assert_int_equal(seen.credit, AGENT_SESSION_CREDIT_PAGES);
}

/* ---- the tests ---- */

static void test_order(void **state)
{
	(void)state;
	assert_int_equal(say_ram(), -EPROTO);
	assert_int_equal(seen.last_bye, AGENT_BYE_BROKEN);
	assert_int_equal(say_module_of(0, 1), -EPROTO);
	assert_int_equal(say_hello(), 0);
	assert_int_equal(say_hello(), -EPROTO);
	assert_int_equal(say_beacon(0, BELOW), -EPROTO);
	assert_int_equal(say_end(1, 0, true), -EPROTO);
	assert_int_equal(say_ram(), 0);
	assert_int_equal(say_ram(), -EPROTO);
	assert_int_equal(say_module_of(1, 1), -EPROTO); /* 0 is the first */
	assert_int_equal(say_module_of(0, 1), 0);
	assert_int_equal(say_range(1, BELOW, 1, 0), -EDQUOT); /* no credit yet */
	assert_int_equal(seen.last_bye, AGENT_BYE_LIMIT);
	assert_int_equal(seen.hints, 0);
}

static void test_other_session(void **state)
{
	(void)state;
	frame(AGENT_HELLO, sizeof(struct agent_hello));
	((struct agent_header *)room)->session++;
	assert_int_equal(say(), -EPROTO);
}

static void test_beacons(void **state)
{
	(void)state;
	assert_int_equal(say_hello(), 0);
	assert_int_equal(say_ram(), 0);
	assert_int_equal(say_beacon(1, 7), 0); /* where nothing is known */
	assert_int_equal(seen.looks, 0);
	assert_int_equal(seen.last_proof, AGENT_NOT_KNOWN);
	assert_int_equal(say_beacon(1, BELOW), -EPROTO); /* each once */
	assert_int_equal(say_beacon(0, BELOW + 9), 0);
	assert_int_equal(seen.look_page, 10);
	assert_int_equal(seen.proofs, 1);
	assert_int_equal(say_beacon(3, ABOVE), 0);
	agent_session_looked(&session, 2, AGENT_PROVED); /* none was told */
	agent_session_looked(&session, AGENT_BEACONS_MAX, AGENT_PROVED);
	assert_int_equal(seen.proofs, 1);
	assert_int_equal(seen.credit, 0);
	agent_session_looked(&session, 0, AGENT_NOT_THERE);
	assert_int_equal(seen.credit, 0);
	agent_session_looked(&session, 3, AGENT_PROVED);
	assert_int_equal(seen.credit, AGENT_SESSION_CREDIT_PAGES);
	agent_session_looked(&session, 3, AGENT_PROVED);
	assert_int_equal(seen.proofs, 3);
	assert_int_equal(seen.credit, AGENT_SESSION_CREDIT_PAGES);

	/* Below 4 GiB the map has been found wrong: nothing there is taken. */
	assert_int_equal(say_module_of(0, 1), 0);
	assert_int_equal(say_range(1, BELOW, 10, 0), 0);
	assert_int_equal(seen.hints, 0);
	assert_int_equal(say_range(1, ABOVE, 10, 0), 0);
	assert_int_equal(seen.last_hint, ABOVE_PAGE);
	assert_int_equal(seen.hinted, 10);
}

static void test_hints(void **state)
{
	(void)state;
	open_session();
	assert_int_equal(say_range(1, BELOW - 5, 10, 0), 0); /* the first five are not known */
	assert_int_equal(seen.hints, 1);
	assert_int_equal(seen.last_hint, 1);
	assert_int_equal(seen.last_hint_count, 5);
	assert_int_equal(say_range(1, AGENT_PFN_END - 1, 1, 0), 0); /* no memory at all */
	assert_int_equal(seen.hints, 1);
	assert_int_equal(say_end(1, 11, true), 0);
	assert_int_equal(seen.batches, 1);
	assert_int_equal(seen.acks, 0);
	agent_session_dealt_with(&session);
	assert_int_equal(seen.last_ack, 1);
	assert_int_equal(seen.last_taken, 5);
	assert_int_equal(seen.credit, AGENT_SESSION_CREDIT_PAGES + 11);
	assert_int_equal(seen.last_module, 0);
	assert_int_equal(session.passes, 1);
	agent_session_dealt_with(&session); /* there is none */
	assert_int_equal(seen.acks, 1);
}

static void test_batches(void **state)
{
	uint32_t batch = 1;

	(void)state;
	open_session();
	assert_int_equal(say_range(2, BELOW, 1, 0), -EPROTO);
	assert_int_equal(say_range(1, BELOW, 1, 1), -EPROTO); /* a module that was not told */
	assert_int_equal(say_end(1, 0, true), -EPROTO);       /* of nothing */
	assert_int_equal(say_range(1, BELOW, 1, 0), 0);
	assert_int_equal(say_end(1, 2, false), -EPROTO);
	assert_int_equal(say_end(2, 1, false), -EPROTO);
	assert_int_equal(say_end(batch++, 1, false), 0);
	assert_int_equal(say_end(batch++, 0, true), 0); /* the end of a pass is told once */
	assert_int_equal(say_end(batch, 0, true), -EPROTO);
	assert_int_equal(say_range(batch, BELOW, AGENT_SESSION_BATCH_PAGES_MAX, 0), 0);
	assert_int_equal(say_range(batch, BELOW, 1, 0), -EDQUOT);
	assert_int_equal(say_end(batch++, AGENT_SESSION_BATCH_PAGES_MAX, false), 0);
	while (batch <= AGENT_SESSION_BATCHES_MAX) {
		assert_int_equal(say_range(batch, BELOW, 1, 0), 0);
		assert_int_equal(say_end(batch++, 1, false), 0);
	}
	assert_int_equal(say_range(batch, BELOW, 1, 0), 0);
	assert_int_equal(say_end(batch, 1, false), -EDQUOT);
	agent_session_dealt_with(&session);
	assert_int_equal(say_end(batch, 1, false), 0);
}

static void test_modules(void **state)
{
	uint32_t bytes = 10, number = 1;

	(void)state;
	open_session();
	for (; number < AGENT_SESSION_MODULES_MAX; number++, bytes++)
		assert_int_equal(say_module_of(number, 1), 0);
	assert_int_equal(say_module_of(number, 1), -EDQUOT);
	assert_int_equal(session.label_bytes, bytes);
}

static void test_labels(void **state)
{
	uint32_t bytes = 10, number = 1;

	(void)state;
	open_session();
	for (; AGENT_SESSION_LABEL_BYTES_MAX - bytes >= AGENT_LABEL_MAX; number++, bytes += AGENT_LABEL_MAX)
		assert_int_equal(say_module_of(number, AGENT_LABEL_MAX), 0);
	assert_int_equal(say_module_of(number, AGENT_LABEL_MAX), -EDQUOT);
	assert_int_equal(say_module_of(number, AGENT_SESSION_LABEL_BYTES_MAX - bytes), 0);
	assert_int_equal(say_module_of(number + 1, 1), -EDQUOT);
}

/* However quickly it is dealt with: no more pages in a second than the limit, and what may be in the air besides. */
static void test_rate(void **state)
{
	uint64_t named = 0, wait = 1;
	uint32_t batch = 1, given;

	(void)state;
	open_session();
	for (uint64_t until = now + 2 * SECOND; now < until; now += wait) {
		while (session.credit >= 64) {
			assert_int_equal(say_range(batch, BELOW, 64, 0), 0);
			assert_int_equal(say_end(batch++, 64, false), 0);
			agent_session_dealt_with(&session);
			named += 64;
		}
		wait = agent_session_tick(&session, now);
		assert_true(wait > 0);
		wait = wait < 1000 ? wait : 1000;
	}
	assert_true(named <= 2 * AGENT_SESSION_PAGES_PER_SECOND + 2 * AGENT_SESSION_CREDIT_PAGES);
	assert_true(named >= 2 * AGENT_SESSION_PAGES_PER_SECOND - AGENT_SESSION_CREDIT_PAGES);

	/* At rest for long it has not saved up more than can be in the air, and asks for nothing. */
	now += 3600 * SECOND;
	given = seen.credit;
	(void)agent_session_tick(&session, now);
	assert_true(session.credit + session.owed <= AGENT_SESSION_CREDIT_PAGES);
	assert_true(seen.credit - given <= AGENT_SESSION_CREDIT_PAGES);
	assert_true(agent_session_tick(&session, now + SECOND) == UINT64_MAX);
}

static void test_beyond_credit(void **state)
{
	(void)state;
	open_session();
	assert_int_equal(say_range(1, BELOW, 1024, 0), 0);
	assert_int_equal(say_end(1, 1024, false), 0);
	assert_int_equal(say_range(2, BELOW, 1024, 0), 0);
	assert_int_equal(say_end(2, 1024, false), 0);
	assert_int_equal(say_range(3, BELOW, 1, 0), -EDQUOT);
	assert_int_equal(seen.hinted, 2048);
}

/* A guest that asks for sessions all the time. */
static void test_begins(void **state)
{
	uint32_t id;

	(void)state;
	open_session();
	for (unsigned i = 0; i < AGENT_SESSION_BEGINS_PER_MINUTE; i++) {
		id = session.id;
		assert_int_equal(say_knock(), 0);
		assert_int_equal(session.state, AGENT_SESSION_WELCOMED);
		assert_int_not_equal(session.id, id);
	}
	assert_int_equal(session.module_count, 0);
	assert_int_equal(session.credit, 0);
	assert_int_equal(say_knock(), -EDQUOT);
	(void)agent_session_tick(&session, now + 59 * SECOND);
	assert_int_equal(say_knock(), -EDQUOT);
	(void)agent_session_tick(&session, now + 60 * SECOND);
	assert_int_equal(say_knock(), 0);
	seen.credit = 0;
	open_session();
}

static void test_bye(void **state)
{
	struct agent_bye_frame *bye = frame(AGENT_BYE, sizeof(*bye));

	(void)state;
	bye->reason = AGENT_BYE_ENDED;
	assert_int_equal(say(), -ECONNRESET);
	assert_int_equal(seen.byes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, begin, end),
		cmocka_unit_test_setup_teardown(test_other_session, begin, end),
		cmocka_unit_test_setup_teardown(test_beacons, begin, end),
		cmocka_unit_test_setup_teardown(test_hints, begin, end),
		cmocka_unit_test_setup_teardown(test_batches, begin, end),
		cmocka_unit_test_setup_teardown(test_modules, begin, end),
		cmocka_unit_test_setup_teardown(test_labels, begin, end),
		cmocka_unit_test_setup_teardown(test_rate, begin, end),
		cmocka_unit_test_setup_teardown(test_beyond_credit, begin, end),
		cmocka_unit_test_setup_teardown(test_begins, begin, end),
		cmocka_unit_test_setup_teardown(test_bye, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
