/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An agent and a VMM, both of which this test plays from one process, as QEMU is at both sockets: what the agent names
 * is looked at by the VMM's worker, beacons are found or not, and a process that is no VM is refused.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/hash.h"
#include "tests/daemon/fake-agent.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 4096
#define GFN 0x100 /* of page 1 */

static struct instance instance;
static struct fake_link vmm;
static struct fake_agent agent = { .port = -1 };
static _Alignas(64) uint8_t beacon_bytes[PAGE_BYTES];

/* ---- the VMM ---- */

static void join(bool tells_map)
{
	struct {
		struct wire_header header;
		struct wire_range range;
	} map = { .range = { .gfn = GFN, .page = 1, .pages = PAGES } };

	test_check(fake_link_open(&vmm, instance.socket, "guest", WIRE_MODE_HINTS, 0) == 0, "no welcome");
	fake_link_post(&vmm, REPORT_REGION_ADD, 1, 1, PAGES);
	wire_header_init(&map.header, WIRE_MEMORY_MAP, sizeof(map));
	map.header.flags = WIRE_FIRST;
	if (tells_map)
		test_check(wire_send(vmm.socket, &map, sizeof(map), NULL, 0) == 0, "send: %s", strerror(errno));
	fake_link_post(&vmm, REPORT_READY, 1, 1, 0);
	instance_await(&instance, "guest", "ram_bytes", PAGES * PAGE_BYTES);
}

/* The next SCAN that the worker is ordered to make. */
static struct ring_record next_scan(void)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	struct ring_record order;

	for (;;) {
		int r = ring_get(&vmm.down, &order);

		test_check(r >= 0, "the ring's cursors are impossible");
		if (r > 0 && order.op == ORDER_SCAN)
			return order;
		test_check(test_patient_msec() < last, "no look is ordered");
		if (r == 0)
			usleep(1000);
	}
}

static void answer_scan(const struct ring_record *scan, const uint64_t *hash)
{
	for (unsigned i = 0; hash != NULL && i < scan->count; i++)
		fake_link_post(&vmm, REPORT_HASH, scan->page + i, 1, hash[i]);
	fake_link_post(&vmm, REPORT_SCANNED, scan->page, scan->count, PAGES);
}

/* ---- the agent ---- */

static void connect_agent(void)
{
	fake_agent_connect(&agent, instance.socket);
}

/* As QEMU does, which is refused while its VM is not served yet. */
static void connect_served(void)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	char byte;

	for (;;) {
		connect_agent();
		if (test_readable(agent.port) && recv(agent.port, &byte, 1, MSG_PEEK) == 1)
			return;
		test_check(test_patient_msec() < last, "the agent is not welcomed");
	}
}

static void greet_with(struct agent_pages range)
{
	test_check(fake_agent_greet(&agent, range.first, range.pages), "it is not welcomed");
}

static void greet(void)
{
	greet_with((struct agent_pages){ GFN, PAGES });
}

static void say_beacon(uint32_t beacon, uint64_t pfn)
{
	fake_agent_say_beacon(&agent, beacon, pfn, beacon_bytes);
}

static const struct agent_header *expect(enum agent_type type)
{
	const struct agent_header *frame = fake_agent_next(&agent);

	test_check(frame != NULL && frame->type == type, "frame %d in place of %d", frame ? frame->type : -1, type);
	return frame;
}

static void expect_proof(enum agent_proof proof)
{
	const struct agent_proof_frame *frame = (const void *)expect(AGENT_PROOF);

	test_check(frame->proof == proof, "proof %u in place of %d", frame->proof, proof);
}

/* ---- the tests ---- */

static void test_nobody(void)
{
	connect_agent();
	test_check(fake_agent_next(&agent) == NULL, "who is no VM is welcomed");
}

static void test_beacons(void)
{
	uint64_t hash = page_hash(beacon_bytes, vmm.welcome.seed), wrong = hash + 1;
	struct ring_record scan;

	connect_served();
	greet();
	say_beacon(0, GFN + PAGES); /* behind all memory */
	expect_proof(AGENT_NOT_KNOWN);
	say_beacon(1, GFN + 10);
	scan = next_scan();
	test_check(scan.page == 11 && scan.count == 1, "page %u is looked at", scan.page);
	answer_scan(&scan, &wrong);
	expect_proof(AGENT_NOT_THERE);
	say_beacon(2, GFN + 10); /* which the worker does not tell of */
	scan = next_scan();
	answer_scan(&scan, NULL);
	expect_proof(AGENT_NOT_KNOWN);
	say_beacon(3, GFN + PAGES - 1);
	scan = next_scan();
	answer_scan(&scan, &hash);
	expect_proof(AGENT_PROVED);
	expect(AGENT_CREDIT);
	/* The whole memory is below 4 GiB, where a beacon was not: nothing is taken, and all is answered. */
	fake_agent_say_range(&agent, 1, GFN, 8);
	test_check(((const struct agent_ack *)(const void *)expect(AGENT_ACK))->taken == 0, "pages are taken");
}

static void test_hints(void)
{
	uint64_t hash = page_hash(beacon_bytes, vmm.welcome.seed), hashes[8];
	const struct agent_ack *ack;
	struct ring_record scan;

	fake_agent_say_knock(&agent); /* everything anew */
	agent_decoder_seek(&agent.decoder);
	greet();
	say_beacon(0, GFN);
	scan = next_scan();
	answer_scan(&scan, &hash);
	expect_proof(AGENT_PROVED);
	expect(AGENT_CREDIT);
	fake_agent_say_range(&agent, 1, GFN + 20, 8);
	scan = next_scan();
	test_check(scan.page == 21 && scan.count == 8, "%u pages from %u on are looked at", scan.count, scan.page);
	for (int i = 0; i < 8; i++)
		hashes[i] = hash + 2 + (uint64_t)i;
	answer_scan(&scan, hashes);
	ack = (const void *)expect(AGENT_ACK);
	test_check(ack->batch == 1 && ack->taken == 8 && ack->credit == 8, "batch %u, %u taken, credit %u", ack->batch,
		   ack->taken, ack->credit);
}

/* One agent of a VM, which ends with the VM's connection, whoever keeps the socket. */
static void test_ends(void)
{
	int first = agent.port;

	agent.port = -1;
	connect_agent();
	test_check(fake_agent_next(&agent) == NULL, "a second agent is welcomed");
	close(agent.port);
	agent.port = first;
	fake_link_close(&vmm);
	instance_await_disconnected(&instance, "guest");
	fake_agent_await_end(&agent);
	join(true);
	connect_served();
	greet();
}

static void set_mode(const char *mode)
{
	char request[96];

	snprintf(request, sizeof(request), "{\"command\":\"modify\",\"name\":\"guest\",\"mode\":\"%s\"}", mode);
	json_decref(instance_ask(&instance, request));
}

/* What is named while the VM is switched off goes nowhere; so it is asked for anew when that is switched on. */
static void test_modes(void)
{
	uint64_t hash = page_hash(beacon_bytes, vmm.welcome.seed);
	uint32_t before = agent.session;
	struct ring_record scan;

	set_mode("off");
	say_beacon(0, GFN);
	expect_proof(AGENT_NOT_KNOWN);
	set_mode("hints");
	agent_decoder_seek(&agent.decoder);
	greet();
	test_check(agent.session != before, "the session is the same");
	say_beacon(0, GFN);
	scan = next_scan();
	answer_scan(&scan, &hash);
	expect_proof(AGENT_PROVED);
	expect(AGENT_CREDIT);
	set_mode("off");
	set_mode("hints");
	agent_decoder_seek(&agent.decoder);
	greet();
}

/* A VMM that does not tell where its guest sees its memory is taken for QEMU. */
static void test_layout(void)
{
	uint64_t hash;
	struct ring_record scan;

	close(agent.port);
	agent.port = -1;
	fake_link_close(&vmm);
	instance_await_disconnected(&instance, "guest");
	join(false);
	hash = page_hash(beacon_bytes, vmm.welcome.seed);
	connect_served();
	greet_with((struct agent_pages){ 1, PAGES }); /* more than there is */
	say_beacon(0, 300);
	expect_proof(AGENT_NOT_KNOWN);
	fake_agent_say_knock(&agent);
	agent_decoder_seek(&agent.decoder);
	greet_with((struct agent_pages){ 1, PAGES - 10 });
	say_beacon(0, 300);
	scan = next_scan();
	test_check(scan.page == 301 && scan.count == 1, "page %u is looked at", scan.page);
	answer_scan(&scan, &hash);
	expect_proof(AGENT_PROVED);
	expect(AGENT_CREDIT);
}

/* What is no protocol, or beyond a limit, ends the connection, with a word; and the daemon goes on. */
static void test_hostile(void)
{
	static const char garbage[4096] = "garbage";
	const struct agent_header *frame;

	fake_agent_say_knock(&agent);
	agent_decoder_seek(&agent.decoder);
	greet();
	fake_agent_say_range(&agent, 1, GFN, 1); /* without credit */
	frame = expect(AGENT_BYE);
	test_check(((const struct agent_bye_frame *)(const void *)frame)->reason == AGENT_BYE_LIMIT, "no limit");
	fake_agent_await_end(&agent);
	connect_served();
	greet();
	(void)send(agent.port, garbage, sizeof(garbage), MSG_NOSIGNAL);
	fake_agent_await_end(&agent);
	connect_agent();
	for (int i = 0; i < 20; i++) {
		struct agent_greeting knock;

		agent_greeting_init(&knock, AGENT_KNOCK, 0, sizeof(knock));
		if (send(agent.port, &knock, sizeof(knock), MSG_NOSIGNAL) < 0)
			break;
	}
	fake_agent_await_end(&agent);
	connect_served();
	greet();
	test_check(instance_alive(&instance), "the daemon has died");
}

int main(int argc, char **argv)
{
	uint64_t state;

	test_begin(argc, argv);
	state = test_seed(0);
	for (size_t i = 0; i < sizeof(beacon_bytes); i++)
		beacon_bytes[i] = (uint8_t)test_random(&state);
	instance_init(&instance);
	instance_settings(&instance, "[limits]\nclaims = believed\n"); /* there is no RAM behind its regions */
	instance_start(&instance);
	test_nobody();
	join(true);
	test_beacons();
	test_hints();
	test_ends();
	test_modes();
	test_layout();
	test_hostile();
	close(agent.port);
	fake_link_close(&vmm);
	instance_done(&instance);
	return 0;
}
