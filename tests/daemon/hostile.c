/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Peers that do what they must not: each is dropped with a line in the log, the daemon goes on, and an honest VM beside
 * them does not notice.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

static struct instance instance;

/* The daemon closes the connection; what it says before is of no interest here. */
static void expect_dropped(int fd, const char *what)
{
	char buffer[WIRE_MESSAGE_MAX];
	ssize_t size;

	do {
		test_check(test_readable(fd), "not dropped: %s", what);
		size = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	} while (size > 0);
	test_check(instance_alive(&instance), "the daemon died of: %s", what);
}

static void send_and_expect_drop(const void *message, size_t size, const char *what)
{
	int fd = instance_connect(&instance);

	test_check(send(fd, message, size, MSG_NOSIGNAL) == (ssize_t)size, "send: %s", strerror(errno));
	expect_dropped(fd, what);
	close(fd);
}

static void check_messages(void)
{
	static char big[WIRE_MESSAGE_MAX + 1];
	struct wire_hello hello = { .page_bytes = PAGE_BYTES, .mode = WIRE_MODE_FULL, .name = "x" }, bad;
	struct wire_segment segment = { .slots = 1 };

	wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello));
	for (size_t size = 1; size < sizeof(hello); size += 7)
		send_and_expect_drop(&hello, size, "a truncated HELLO");
	memset(big, 0x41, sizeof(big));
	send_and_expect_drop(big, sizeof(big), "a message that is too long");
	send_and_expect_drop(big, sizeof(big) - 1, "a message of the letter A");
	bad = hello;
	bad.header.version = WIRE_VERSION + 1;
	send_and_expect_drop(&bad, sizeof(bad), "another version");
	bad = hello;
	bad.mode = WIRE_MODE_END;
	send_and_expect_drop(&bad, sizeof(bad), "a mode that does not exist");
	bad = hello;
	memset(bad.name, 'x', sizeof(bad.name));
	send_and_expect_drop(&bad, sizeof(bad), "a name without end");
	bad = hello;
	strcpy(bad.name, "a\nb");
	send_and_expect_drop(&bad, sizeof(bad), "a name with a line break");
	bad = hello;
	bad.header.length = 1;
	send_and_expect_drop(&bad, sizeof(bad), "a length that is not the packet's");
	wire_header_init(&segment.header, WIRE_SEGMENT, sizeof(segment));
	send_and_expect_drop(&segment, sizeof(segment), "a message that only the daemon sends");
	wire_header_init(&bad.header, WIRE_DOORBELL, sizeof(bad.header));
	send_and_expect_drop(&bad, sizeof(bad.header), "a doorbell before HELLO");
}

static void open_link(struct fake_link *link)
{
	test_check(fake_link_open(link, instance.socket, "hostile", WIRE_MODE_FULL, 0) == 0, "no welcome");
}

static void expect_link_dropped(struct fake_link *link, const char *what)
{
	expect_dropped(link->socket, what);
	fake_link_close(link);
}

static void check_after_hello(void)
{
	struct wire_hello hello = { .page_bytes = PAGE_BYTES, .mode = WIRE_MODE_FULL, .name = "x" };
	struct fake_link link;

	wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello));
	open_link(&link);
	test_check(wire_send(link.socket, &hello, sizeof(hello), NULL, 0) == 0, "send");
	expect_link_dropped(&link, "HELLO twice");
}

static void check_cursors(void)
{
	static const uint32_t tails[] = { RING_UP_RECORDS + 1, 0x80000000u, UINT32_MAX };
	struct fake_link link;

	for (unsigned i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
		open_link(&link);
		atomic_store(&link.up.cursors->tail, tails[i]);
		fake_link_ring(&link);
		expect_link_dropped(&link, "an impossible tail of the up ring");
	}
}

/* Nobody else is there. Of a report of 64 pages each may have to be looked up: it is as much of a turn as 64 of one. */
static void check_weight(void)
{
	const long long enough = 3 * RING_RUN_PAGES_MAX; /* more than all that are posted, and than the region */
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	struct fake_link link;

	open_link(&link);
	fake_link_post(&link, REPORT_REGION_ADD, 1, 1, RING_RUN_PAGES_MAX);
	fake_link_post(&link, REPORT_READY, 1, 1, 0);
	fake_link_ring(&link);
	instance_await(&instance, "hostile", "ram_bytes", RING_RUN_PAGES_MAX * PAGE_BYTES);
	test_check(instance_daemon(&instance, "turn_max_reports") < enough, "more than a region and READY");
	/* Some may be taken one by one, as they come: not three in a row of sixteen, ten times. */
	for (unsigned round = 0; round < 10 && instance_daemon(&instance, "turn_max_reports") < enough; round++) {
		for (unsigned i = 0; i < 16; i++)
			fake_link_post(&link, REPORT_SAME, 1, RING_RUN_PAGES_MAX, 0);
		fake_link_ring(&link);
		poll(NULL, 0, 100);
	}
	while (instance_daemon(&instance, "turn_max_reports") < enough)
		test_check(test_patient_msec() < last, "what is the same counts as a report, not as its pages");
	fake_link_close(&link);
}

static void check_order_cursor(void)
{
	struct fake_link link;

	/* The daemon looks at this one when it has an order; REGION_ADD and READY bring the first. */
	open_link(&link);
	atomic_store(&link.down.cursors->head, 77);
	fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 64);
	fake_link_post(&link, REPORT_READY, 1, 1, 0);
	expect_link_dropped(&link, "an impossible head of the down ring");
}

static void check_reports(void)
{
	static const struct {
		uint8_t op;
		uint16_t count;
		uint32_t page;
		uint64_t value;
		const char *what;
	} bad[] = {
		{ 0, 1, 1, 0, "report 0" },
		{ REPORT_END, 1, 1, 0, "a report beyond the last" },
		{ ORDER_MERGE, 1, 1, 0, "an order as report" },
		{ REPORT_MERGED, 1, 1, 0, "an answer to nothing" },
		{ REPORT_FETCHED, 1, 1, 3, "a page that was not asked for" },
		{ REPORT_FETCHED, 1, 1, RING_STAGING_PAGES, "a staging page that does not exist" },
		{ REPORT_HASH, 1, 4000000000u, 1, "a hash of an unknown page" },
		{ REPORT_DIVERGED, 64, 10, 0, "divergence beyond the last page" },
		{ REPORT_SCANNED, 1, 1, 1, "the end of no scan" },
		{ REPORT_REGION_ADD, 1, 5, 100, "a region over another" },
		{ REPORT_REGION_ADD, 1, 100, UINT32_MAX, "a region without measure" },
		{ REPORT_REGION_REMOVE, 1, 3, 0, "removal of no region" },
		{ REPORT_ADOPT, 1, 1, 0, "adoption of what it never had" },
		{ REPORT_READY, 1, 1, 0, "READY twice" },
	};
	struct fake_link link;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		open_link(&link);
		fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 16);
		fake_link_post(&link, REPORT_READY, 1, 1, 0);
		fake_link_post(&link, bad[i].op, bad[i].page, bad[i].count, bad[i].value);
		fake_link_ring(&link);
		expect_link_dropped(&link, bad[i].what);
	}
}

/* It answers what was ordered, but with other slots. */
static void check_defiance(void)
{
	const struct fake_options options = { .name = "defiant", .pages = 128, .common = 128, .defiant = true };
	struct fake_vmm vmm = fake_start(instance.socket, &options);

	instance_await_disconnected(&instance, "defiant");
	fake_kill(&vmm);
	instance_await(&instance, "defiant", "pid", -1);
}

/* Anything at all in the ring's memory, and the staging pages freed under the daemon's hands. */
static void check_garbage(void)
{
	uint64_t random = test_seed(1);
	struct fake_link link;

	while (test_running()) {
		open_link(&link);
		fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 256);
		fake_link_post(&link, REPORT_READY, 1, 1, 0);
		fake_link_spoil(&link, &random);
		fake_link_close(&link);
	}
	test_check(instance_alive(&instance), "the daemon died of garbage");
}

/* Nobody reads: neither orders nor packets. */
static void check_silence(void)
{
	struct wire_refused refused = { .bytes = 1, .reason = WIRE_REASON_LOCKED };
	struct fake_link link;

	open_link(&link);
	wire_header_init(&refused.header, WIRE_REFUSED, sizeof(refused));
	fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 100000);
	fake_link_post(&link, REPORT_READY, 1, 1, 0);
	for (unsigned i = 0; i < 1000; i++)
		(void)wire_send(link.socket, &refused, sizeof(refused), NULL, 0);
	instance_await(&instance, "hostile", "connected", 1);
	fake_link_close(&link);
}

/* It wants segments that no order of its has named, and reads nothing: it gets none. */
static void check_segments(void)
{
	char buffer[256];
	struct fake_link link;

	open_link(&link);
	fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 16);
	fake_link_post(&link, REPORT_READY, 1, 1, 0);
	for (uint32_t i = 0; i < 3000; i++)
		(void)fake_link_want(&link, i % 3 == 2 ? UINT32_MAX - i : i % 3);
	instance_await(&instance, "hostile", "connected", 1);
	while (recv(link.socket, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		test_check(((const struct wire_header *)(void *)buffer)->type != WIRE_SEGMENT,
			   "a segment is given to whom no order names it");
	fake_link_close(&link);
}

/* It wants what it was given before, more often than it could use it. */
static void check_greed(void)
{
	const struct fake_options options = { .name = "greedy", .pages = 256, .common = 128, .forgetful = 500 };
	struct fake_vmm vmm = fake_start(instance.socket, &options);
	struct fake_answer answer = fake_ask(&vmm, FAKE_AWAIT, 128);

	test_check(answer.connected && answer.shared >= 128, "one that asks often is not served any more");
	test_check(fake_ask(&vmm, FAKE_CHECK, 0).damaged == 0, "its memory is not what it was");
	fake_kill(&vmm);
	instance_await(&instance, "greedy", "pid", -1);
}

static void check_descriptors(void)
{
	struct wire_header doorbell;
	struct fake_link link;
	int fds[2] = { STDERR_FILENO, STDERR_FILENO };

	open_link(&link);
	wire_header_init(&doorbell, WIRE_DOORBELL, sizeof(doorbell));
	for (unsigned i = 0; i < 3000; i++)
		(void)wire_send(link.socket, &doorbell, sizeof(doorbell), fds, 2);
	expect_dropped(link.socket, "messages with descriptors");
	fake_link_close(&link);
	test_check(instance_host(&instance, "saved_pages") >= 0, "the daemon cannot answer any more");
}

int main(int argc, char **argv)
{
	const struct fake_options options = { .name = "honest", .pages = 512, .common = 128, .zero = 64 };
	struct fake_vmm honest, other;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	check_weight();
	honest = fake_start(instance.socket, &options);
	check_messages();
	check_after_hello();
	check_cursors();
	check_order_cursor();
	check_reports();
	check_silence();
	check_segments();
	check_greed();
	check_defiance();
	check_descriptors();
	check_garbage();
	test_check(instance_logged(&instance, "dropping the connection of"), "nothing was logged");
	other = fake_start(instance.socket, &options);
	fake_ask(&honest, FAKE_AWAIT, 128 + 64);
	test_check(fake_ask(&honest, FAKE_CHECK, 0).damaged == 0, "the honest VM's memory was changed");
	test_check(fake_ask(&honest, FAKE_STATE, 0).connected, "the honest VM was dropped");
	fake_kill(&honest);
	fake_kill(&other);
	instance_await(&instance, NULL, "shared_pages", 0);
	instance_done(&instance);
	return 0;
}
