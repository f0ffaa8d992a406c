/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An agent and a VMM, both of which this test plays from one process, as QEMU is at both sockets: what the agent names
 * is looked at by the VMM's worker, beacons are found or not, and who is no VM is not listened to.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/hash.h"
#include "protocol/agent-decoder.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 4096
#define GFN 0x100 /* of page 1 */

static struct instance instance;
static struct fake_link vmm;
static struct agent_decoder decoder;
static uint32_t session;
static int port = -1;
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
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (port >= 0)
		close(port);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s.agent", instance.socket);
	port = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	test_check(port >= 0 && connect(port, (struct sockaddr *)&address, sizeof(address)) == 0, "%s: %s",
		   address.sun_path, strerror(errno));
	agent_decoder_init(&decoder, AGENT_HOST);
}

/* What the daemon says next, or NULL at the end. */
/* As QEMU does, which is refused while its VM is not served yet. */
static void connect_served(void)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	char byte;

	for (;;) {
		connect_agent();
		if (test_readable(port) && recv(port, &byte, 1, MSG_PEEK) == 1)
			return;
		test_check(test_patient_msec() < last, "the agent is not welcomed");
	}
}

static const struct agent_header *next_frame(void)
{
	const struct agent_header *frame;
	int r;

	while ((r = agent_decoder_next(&decoder, &frame)) == -EAGAIN) {
		size_t room;
		void *place = agent_decoder_room(&decoder, &room);
		ssize_t bytes;

		test_check(test_readable(port), "the daemon says nothing");
		bytes = read(port, place, room);
		if (bytes <= 0)
			return NULL;
		agent_decoder_add(&decoder, (size_t)bytes);
	}
	test_check(r == 0, "the daemon sends what it must not: %s", strerror(-r));
	return frame;
}

static const struct agent_header *expect(enum agent_type type)
{
	const struct agent_header *frame = next_frame();

	test_check(frame != NULL && frame->type == type, "frame %d in place of %d", frame ? frame->type : -1, type);
	return frame;
}

static void expect_end(void)
{
	const struct agent_header *frame;

	do
		frame = next_frame();
	while (frame != NULL);
}

/* Where the daemon has hung up meanwhile, who reads next meets that. */
static void say(const struct agent_header *frame)
{
	ssize_t bytes = send(port, frame, frame->length, MSG_NOSIGNAL);

	test_check(bytes == frame->length || (bytes < 0 && (errno == EPIPE || errno == ECONNRESET)), "send: %s",
		   strerror(errno));
}

static void say_knock(void)
{
	struct agent_greeting knock;

	agent_greeting_init(&knock, AGENT_KNOCK, 0, sizeof(knock));
	say(&knock.header);
}

static void say_beacon(uint32_t beacon, uint64_t pfn)
{
	struct agent_beacon frame = { .beacon = beacon, .pfn = pfn };

	agent_header_init(&frame.header, AGENT_BEACON, session, sizeof(frame));
	memcpy(frame.bytes, beacon_bytes, sizeof(frame.bytes));
	say(&frame.header);
}

static void say_range(uint32_t batch, uint64_t pfn, uint32_t pages)
{
	union {
		struct agent_ranges ranges;
		uint8_t bytes[sizeof(struct agent_ranges) + sizeof(struct agent_range)];
	} frame = { .ranges = { .batch = batch, .count = 1 } };
	const struct agent_range range = { .pfn = pfn, .pages = pages };
	struct agent_batch_end end = { .batch = batch, .pages = pages, .is_last = 1 };

	memcpy(frame.bytes + sizeof(frame.ranges), &range, sizeof(range));
	agent_header_init(&frame.ranges.header, AGENT_RANGES, session, sizeof(frame));
	say(&frame.ranges.header);
	agent_header_init(&end.header, AGENT_BATCH_END, session, sizeof(end));
	say(&end.header);
}

/* Up to where beacons may be told. */
static void greet_with(struct agent_pages range)
{
	union {
		struct agent_ram ram;
		uint8_t bytes[sizeof(struct agent_ram) + sizeof(struct agent_pages)];
	} ram = { .ram = { .count = 1 } };
	struct agent_module module = { .kind = AGENT_KIND_FILE, .label_bytes = 4 };
	union {
		struct agent_module module;
		uint8_t bytes[64];
	} named = { .bytes = { 0 } };
	struct agent_hello hello = { .instance = 1 };

	session = expect(AGENT_WELCOME)->session;
	agent_decoder_settle(&decoder, session);
	agent_greeting_init(&hello.greeting, AGENT_HELLO, session, sizeof(hello));
	say(&hello.greeting.header);
	memcpy(ram.bytes + sizeof(ram.ram), &range, sizeof(range));
	agent_header_init(&ram.ram.header, AGENT_RAM, session, sizeof(ram));
	say(&ram.ram.header);
	agent_header_init(&module.header, AGENT_MODULE, session, agent_module_bytes(4));
	named.module = module;
	memcpy(named.bytes + sizeof(module), "/lib", 4);
	say(&named.module.header);
}

static void greet(void)
{
	greet_with((struct agent_pages){ GFN, PAGES });
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
	test_check(next_frame() == NULL, "who is no VM is welcomed");
}

static void test_beacons(void)
{
	uint64_t hash = page_hash(beacon_bytes, vmm.welcome.seed), wrong = hash + 1;
	struct ring_record scan;

	connect_agent();
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
	say_range(1, GFN, 8);
	test_check(((const struct agent_ack *)(const void *)expect(AGENT_ACK))->taken == 0, "pages are taken");
}

static void test_hints(void)
{
	uint64_t hash = page_hash(beacon_bytes, vmm.welcome.seed), hashes[8];
	const struct agent_ack *ack;
	struct ring_record scan;

	say_knock(); /* everything anew */
	agent_decoder_seek(&decoder);
	greet();
	say_beacon(0, GFN);
	scan = next_scan();
	answer_scan(&scan, &hash);
	expect_proof(AGENT_PROVED);
	expect(AGENT_CREDIT);
	say_range(1, GFN + 20, 8);
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
	int first = port;

	port = -1;
	connect_agent();
	test_check(next_frame() == NULL, "a second agent is welcomed");
	close(port);
	port = first;
	fake_link_close(&vmm);
	instance_await_disconnected(&instance, "guest");
	expect_end();
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
	uint32_t before = session;
	struct ring_record scan;

	set_mode("off");
	say_beacon(0, GFN);
	expect_proof(AGENT_NOT_KNOWN);
	set_mode("hints");
	agent_decoder_seek(&decoder);
	greet();
	test_check(session != before, "the session is the same");
	say_beacon(0, GFN);
	scan = next_scan();
	answer_scan(&scan, &hash);
	expect_proof(AGENT_PROVED);
	expect(AGENT_CREDIT);
	set_mode("off");
	set_mode("hints");
	agent_decoder_seek(&decoder);
	greet();
}

/* A VMM that does not tell where its guest sees its memory is taken for QEMU. */
static void test_layout(void)
{
	uint64_t hash;
	struct ring_record scan;

	close(port);
	port = -1;
	fake_link_close(&vmm);
	instance_await_disconnected(&instance, "guest");
	join(false);
	hash = page_hash(beacon_bytes, vmm.welcome.seed);
	connect_served();
	greet_with((struct agent_pages){ 1, PAGES }); /* more than there is */
	say_beacon(0, 300);
	expect_proof(AGENT_NOT_KNOWN);
	say_knock();
	agent_decoder_seek(&decoder);
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

	say_knock();
	agent_decoder_seek(&decoder);
	greet();
	say_range(1, GFN, 1); /* without credit */
	frame = expect(AGENT_BYE);
	test_check(((const struct agent_bye_frame *)(const void *)frame)->reason == AGENT_BYE_LIMIT, "no limit");
	expect_end();
	connect_agent();
	greet();
	(void)send(port, garbage, sizeof(garbage), MSG_NOSIGNAL);
	expect_end();
	connect_agent();
	for (int i = 0; i < 20; i++) {
		struct agent_greeting knock;

		agent_greeting_init(&knock, AGENT_KNOCK, 0, sizeof(knock));
		if (send(port, &knock, sizeof(knock), MSG_NOSIGNAL) < 0)
			break;
	}
	expect_end();
	connect_agent();
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
	close(port);
	fake_link_close(&vmm);
	instance_done(&instance);
	return 0;
}
