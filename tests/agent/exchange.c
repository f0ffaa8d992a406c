/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent, and a host that this test plays: one that does as it should, with little credit; one that is silent; one
 * that goes and comes back; ones that talk nonsense. What the agent names is compared with the page frames that files
 * have, what it holds with what the kernel says that it has locked.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/page.h"
#include "protocol/agent-decoder.h"
#include "tests/agent/place.h"
#include "tests/support/test.h"

#define FILES 3
#define FILE_PAGES 300
#define BATCH_PAGES 64
#define MODULES_MAX 64
#define HELD_MAX_KIB 1024 /* held_size of the settings below */

struct host {
	int listening, fd;
	pid_t agent;
	uint32_t session;
	struct agent_decoder decoder;

	/* What has come in this session. */
	char labels[MODULES_MAX][AGENT_LABEL_MAX + 1];
	uint32_t modules, batch, batch_pages, beacons;
	uint64_t beacon_pfns[AGENT_BEACONS_MAX];
	uint64_t pages;    /* named */
	uint64_t distinct; /* of them; of a page that the kernel was just moving the whole file comes again */
	bool named[MODULES_MAX][512];
	struct agent_batch_end end; /* the last one */
};

static struct host host;

/* ---- the agent ---- */

static void start_agent(void)
{
	const char *program = getenv("PAGEFUSE_AGENT");

	test_check(program != NULL, "PAGEFUSE_AGENT does not say where the agent is");
	fflush(NULL);
	host.agent = fork();
	test_check(host.agent >= 0, "fork: %s", strerror(errno));
	if (host.agent != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execl(program, "pagefuse-agent", "--port", place_path("socket"), "--config",
	      place_path("conf"), NULL);
	_exit(127);
}

/* A field of the agent's /proc/PID/status, in KiB. */
static unsigned long agent_kib(const char *field)
{
	char path[64], line[256];
	unsigned long value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)host.agent);
	file = fopen(path, "re");
	test_check(file != NULL, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtoul(line + strlen(field), NULL, 10);
	fclose(file);
	return value;
}

static bool agent_sleeps(void)
{
	char path[64], text[512];
	const char *state = NULL;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)host.agent);
	file = fopen(path, "re");
	test_check(file != NULL, "%s: %s", path, strerror(errno));
	if (fgets(text, sizeof(text), file) != NULL)
		state = strrchr(text, ')');
	fclose(file);
	test_check(state != NULL, "%s cannot be understood", path);
	return state[2] == 'S';
}

/* Waits until the agent waits, having read all that it was sent. */
static void until_agent_waits(void)
{
	uint64_t deadline = test_patient_msec() + 1000 * TEST_PATIENCE_SECONDS;
	int in_row = 0;

	while (in_row < 20) {
		in_row = agent_sleeps() ? in_row + 1 : 0;
		test_check(test_patient_msec() < deadline, "the agent does not come to rest");
		poll(NULL, 0, 5);
	}
}

static void until_kib(const char *field, unsigned long wanted)
{
	uint64_t deadline = test_patient_msec() + 1000 * TEST_PATIENCE_SECONDS;

	while (agent_kib(field) != wanted) {
		test_check(test_patient_msec() < deadline, "%s is %lu KiB and not %lu", field, agent_kib(field),
			   wanted);
		poll(NULL, 0, 10);
	}
}

static void stop_agent(void)
{
	int status;

	test_check(kill(host.agent, SIGTERM) == 0, "kill: %s", strerror(errno));
	status = test_wait_child(host.agent);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the agent ended with status 0x%x",
		   (unsigned)status);
}

/* ---- the host ---- */

static void listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	test_check(strlen(path) < sizeof(address.sun_path), "%s is too long for a socket", path);
	strcpy(address.sun_path, path);
	host.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	test_check(host.listening >= 0 && bind(host.listening, (struct sockaddr *)&address, sizeof(address)) == 0 &&
			   listen(host.listening, 1) == 0,
		   "%s: %s", path, strerror(errno));
}

static void await_agent(void)
{
	test_check(test_readable(host.listening), "the agent does not connect");
	host.fd = accept4(host.listening, NULL, NULL, SOCK_CLOEXEC);
	test_check(host.fd >= 0, "accept: %s", strerror(errno));
	agent_decoder_init(&host.decoder, AGENT_GUEST);
}

/* The next frame, or NULL at the end of the connection. Good until the next call. */
static const struct agent_header *next_frame(void)
{
	const struct agent_header *frame;
	int r;

	while ((r = agent_decoder_next(&host.decoder, &frame)) == -EAGAIN) {
		size_t room;
		void *place = agent_decoder_room(&host.decoder, &room);
		ssize_t bytes;

		test_check(test_readable(host.fd), "the agent says nothing more");
		bytes = read(host.fd, place, room);
		if (bytes == 0 || (bytes < 0 && errno == ECONNRESET))
			return NULL;
		test_check(bytes > 0, "read: %s", strerror(errno));
		agent_decoder_add(&host.decoder, (size_t)bytes);
	}
	test_check(r == 0, "the agent sends what it must not: %s", strerror(-r));
	return frame;
}

static const struct agent_header *expect(enum agent_type type)
{
	const struct agent_header *frame = next_frame();

	test_check(frame != NULL && frame->type == type, "frame %d in place of %d", frame ? frame->type : -1, type);
	return frame;
}

static void say(const struct agent_header *frame)
{
	test_check(send(host.fd, frame, frame->length, MSG_NOSIGNAL) == frame->length, "send: %s", strerror(errno));
}

static void say_welcome(uint32_t session)
{
	struct agent_welcome welcome = { .modules_max = MODULES_MAX,
					 .label_bytes_max = 65536,
					 .batch_pages_max = BATCH_PAGES };

	agent_greeting_init(&welcome.greeting, AGENT_WELCOME, session, sizeof(welcome));
	host.session = session;
	agent_decoder_seek(&host.decoder); /* what is under way of an earlier session is left out */
	say(&welcome.greeting.header);
}

static void say_credit(uint32_t pages)
{
	struct agent_credit credit = { .pages = pages };

	agent_header_init(&credit.header, AGENT_CREDIT, host.session, sizeof(credit));
	say(&credit.header);
}

static void say_proof(uint32_t beacon)
{
	struct agent_proof_frame proof = { .beacon = beacon, .proof = AGENT_PROVED };

	agent_header_init(&proof.header, AGENT_PROOF, host.session, sizeof(proof));
	say(&proof.header);
}

static void say_ack(uint32_t batch, uint32_t taken, uint32_t credit)
{
	struct agent_ack ack = { .batch = batch, .taken = taken, .credit = credit };

	agent_header_init(&ack.header, AGENT_ACK, host.session, sizeof(ack));
	say(&ack.header);
}

/* ---- what the agent says, from its greeting up to the first batch ---- */

static void check_hello(const struct agent_header *frame)
{
	const struct agent_hello *hello = (const void *)frame;

	test_check(frame->session == host.session, "HELLO of session %" PRIu32, frame->session);
	test_check(hello->instance != 0, "no instance");
	agent_decoder_settle(&host.decoder, host.session);
}

static void note_beacon(const struct agent_beacon *beacon)
{
	bool same = true;

	for (size_t i = 8; i < sizeof(beacon->bytes); i++)
		same &= beacon->bytes[i] == beacon->bytes[i - 8];
	test_check(!same, "a beacon that is not random");
	host.beacon_pfns[beacon->beacon] = beacon->pfn;
	host.beacons |= 1U << beacon->beacon;
}

/* Up to the module for all others, which is the first. */
static void greet(uint32_t session)
{
	const struct agent_header *frame;
	const struct agent_module *module;

	host.modules = host.batch_pages = host.beacons = 0;
	host.pages = host.distinct = 0;
	memset(host.named, 0, sizeof(host.named));
	host.batch = 1;
	say_welcome(session);
	do /* what was under way when the host began anew comes first */
		frame = next_frame();
	while (frame != NULL && frame->type != AGENT_HELLO);
	test_check(frame != NULL, "no HELLO");
	check_hello(frame);
	test_check(((const struct agent_ram *)(const void *)expect(AGENT_RAM))->count > 0, "no RAM");
	while ((frame = next_frame()) != NULL && frame->type == AGENT_BEACON)
		note_beacon((const void *)frame);
	module = (const void *)frame;
	test_check(frame != NULL && frame->type == AGENT_MODULE && module->kind == AGENT_KIND_OTHER,
		   "no first module");
	host.modules = 1;
}

static void connect_agent(uint32_t session)
{
	await_agent();
	expect(AGENT_KNOCK);
	greet(session);
}

static void on_module(const struct agent_module *module)
{
	test_check(module->module == host.modules && module->kind == AGENT_KIND_FILE, "module %" PRIu32,
		   module->module);
	snprintf(host.labels[host.modules++], AGENT_LABEL_MAX + 1, "%.*s", module->label_bytes, module->label);
}

/* All pages of a range are where the file says. */
static void on_ranges(const struct agent_ranges *ranges)
{
	size_t prefix = strlen(place_path("")) + 1;

	test_check(ranges->batch == host.batch, "batch %" PRIu32 " in place of %" PRIu32, ranges->batch, host.batch);
	for (uint32_t i = 0; i < ranges->count; i++) {
		const struct agent_range *range = &ranges->ranges[i];

		test_check(range->module > 0 && range->module < host.modules, "pages of a module that is not known");
		for (uint32_t j = 0; j < range->pages; j++) {
			bool *named = &host.named[range->module][(range->place + j) % 512];

			host.distinct += !*named;
			*named = true;
			test_check(place_frame(host.labels[range->module] + prefix, range->place + j) ==
					   range->pfn + j,
				   "page %" PRIu64 " of %s is not at 0x%" PRIx64, range->place + j,
				   host.labels[range->module], range->pfn + j);
		}
		host.batch_pages += range->pages;
	}
}

/* Takes frames until a batch ends. */
static void take_batch(void)
{
	const struct agent_header *frame;

	while ((frame = next_frame()) != NULL && frame->type != AGENT_BATCH_END) {
		if (frame->type == AGENT_MODULE)
			on_module((const void *)frame);
		else if (frame->type == AGENT_RANGES)
			on_ranges((const void *)frame);
		else
			test_fail("frame %d in a batch", frame->type);
	}
	test_check(frame != NULL, "the connection ends in a batch");
	memcpy(&host.end, frame, sizeof(host.end));
	test_check(host.end.batch == host.batch && host.end.pages == host.batch_pages && host.end.pages <= BATCH_PAGES,
		   "batch %" PRIu32 " ends with %" PRIu32 " pages, of which %" PRIu32 " have come", host.end.batch,
		   host.end.pages, host.batch_pages);
	host.pages += host.batch_pages;
	host.batch++;
	host.batch_pages = 0;
}

/* Takes and acknowledges all batches of a pass, each when it comes. */
static void take_pass(void)
{
	do {
		take_batch();
		say_ack(host.end.batch, host.end.pages, host.end.pages);
	} while (!host.end.is_last);
}

static bool has_said_more(void)
{
	struct pollfd descriptor = { .fd = host.fd, .events = POLLIN };

	until_agent_waits();
	return host.decoder.filled != host.decoder.taken || poll(&descriptor, 1, 0) > 0;
}

/* Nothing that needs credit comes. */
static void check_silence(void)
{
	while (has_said_more())
		on_module((const void *)expect(AGENT_MODULE));
}

/* Whether a process has a page frame mapped. */
static bool agent_has_frame(uint64_t pfn)
{
	char path[64], line[512];
	bool found = false;
	FILE *maps, *pagemap;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)host.agent);
	maps = fopen(path, "re");
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)host.agent);
	pagemap = fopen(path, "re");
	test_check(maps != NULL && pagemap != NULL, "%s: %s", path, strerror(errno));
	while (!found && fgets(line, sizeof(line), maps) != NULL) {
		char *rest;
		uint64_t start = strtoull(line, &rest, 16), end = strtoull(rest + 1, NULL, 16), entry;

		if (fseeko(pagemap, (off_t)(start / PAGE_BYTES * 8), SEEK_SET) != 0)
			continue;
		for (; start < end && fread(&entry, sizeof(entry), 1, pagemap) == 1; start += PAGE_BYTES)
			found |= (entry >> 63) != 0 && (entry & ((UINT64_C(1) << 55) - 1)) == pfn;
	}
	fclose(maps);
	fclose(pagemap);
	return found;
}

static void prove_beacons(void)
{
	for (uint32_t i = 0; i < AGENT_BEACONS_MAX; i++)
		if (host.beacons & 1U << i)
			say_proof(i);
}

/* ---- the tests ---- */

static void test_beacons(void)
{
	connect_agent(0x101);
	test_check(host.beacons != 0, "no beacons");
	for (uint32_t i = 0; i < AGENT_BEACONS_MAX; i++)
		if (host.beacons & 1U << i)
			test_check(agent_has_frame(host.beacon_pfns[i]),
				   "beacon %" PRIu32 " is not where it is said to be", i);
	prove_beacons();
	check_silence(); /* no credit has been given */
	for (uint32_t i = 0; i < AGENT_BEACONS_MAX; i++)
		if (host.beacons & 1U << i)
			test_check(!agent_has_frame(host.beacon_pfns[i]), "beacon %" PRIu32 " is kept", i);
}

/* No page without credit, all with it; what is named is locked until it is acknowledged. */
static void test_credit(void)
{
	for (int i = 0; i < 3; i++) {
		uint64_t before = host.pages;
		uint32_t first = host.batch;
		unsigned long locked;

		say_credit(100);
		while (host.pages < before + 100)
			take_batch();
		test_check(host.pages == before + 100, "%" PRIu64 " pages for a credit of 100", host.pages - before);
		check_silence();
		locked = agent_kib("VmLck:");
		test_check(locked >= 400 && locked <= HELD_MAX_KIB, "%lu KiB are locked", locked);
		for (; first < host.batch; first++)
			say_ack(first, 1, 0);
		check_silence();
	}
}

/* With more credit than may be held that is the limit; all comes in the end, and nothing stays locked. */
static void test_held(void)
{
	uint32_t first = host.batch;
	unsigned long locked;
	uint64_t before = host.pages;

	say_credit(AGENT_CREDIT_MAX);
	while (has_said_more())
		take_batch();
	locked = agent_kib("VmLck:");
	test_check(locked > 0 && locked <= HELD_MAX_KIB, "%lu KiB are locked", locked);
	test_check((host.pages - before) * 4 <= HELD_MAX_KIB, "%" PRIu64 " pages without an answer",
		   host.pages - before);
	test_check(!host.end.is_last, "there was not more to say than may be held");
	while (!host.end.is_last) {
		say_ack(first++, 0, 0);
		if (host.batch == first)
			take_batch();
	}
	for (; first < host.batch; first++)
		say_ack(first, 0, 0);
	while (host.distinct < (uint64_t)FILES * FILE_PAGES)
		take_pass();
	until_kib("VmLck:", 0);
}

static void test_memory(void)
{
	unsigned long most = agent_kib("VmHWM:");

	printf("the agent had %lu KiB at most\n", most);
	if (TEST_ADDRESS_SANITIZER + TEST_THREAD_SANITIZER == 0) /* these have their own */
		test_check(most <= 4096, "the agent has had %lu KiB", most);
}

/* What has changed, and not what has not. */
static void test_changes(void)
{
	uint32_t modules = host.modules;
	uint64_t before = host.distinct;

	place_file("hidden/new", 7);
	test_check(rename(place_path("hidden/new"), place_path("new")) == 0, "rename: %s", strerror(errno));
	while (host.distinct < before + 7)
		take_pass();
	test_check(host.modules == modules + 1 && strcmp(host.labels[modules], place_path("new")) == 0 &&
			   host.distinct == before + 7,
		   "%" PRIu64 " pages for a new file of 7", host.distinct - before);
	test_check(truncate(place_path("file-1"), 150 * PAGE_BYTES) == 0, "truncate: %s", strerror(errno));
	do { /* more than once if it looked while the file got shorter */
		before = host.pages;
		take_pass();
	} while (host.pages != before + 150);
	test_check(host.modules == modules + 1, "a file that has changed is another module");
}

/* Everything is said anew in another session: after WELCOME, with batches in the air, and after the host was gone. */
static void test_sessions(void)
{
	uint64_t all = 2 * FILE_PAGES + 150 + 7;

	greet(0x202);
	say_credit(100);
	take_batch();
	greet(0x203);
	prove_beacons();
	until_kib("VmLck:", 0);
	say_credit(BATCH_PAGES);
	while (host.distinct < all)
		take_pass();
	test_check(host.distinct == all, "%" PRIu64 " pages in another session", host.distinct);
	say_credit(BATCH_PAGES); /* so that it has something to do when the host goes */
	close(host.fd);
	connect_agent(0x204);
	say_credit(BATCH_PAGES);
	while (host.distinct < all)
		take_pass();
	test_check(host.distinct == all, "%" PRIu64 " pages after the host was gone", host.distinct);
}

/* What is left of an earlier session in the port does no harm. */
static void test_leftovers(void)
{
	static const char leftover[] = "AGFP whatever was in there PFAG";
	struct agent_header torn;

	close(host.fd);
	await_agent();
	expect(AGENT_KNOCK);
	agent_header_init(&torn, AGENT_ACK, 0x204, sizeof(struct agent_ack));
	test_check(send(host.fd, &torn, sizeof(torn), MSG_NOSIGNAL) == sizeof(torn), "send: %s", strerror(errno));
	test_check(send(host.fd, leftover, sizeof(leftover), MSG_NOSIGNAL) == sizeof(leftover), "send: %s",
		   strerror(errno));
	greet(0x205);
}

static void expect_bye(enum agent_bye reason)
{
	const struct agent_header *frame;

	do
		frame = next_frame();
	while (frame != NULL && frame->type != AGENT_BYE);
	test_check(frame != NULL && ((const struct agent_bye_frame *)(const void *)frame)->reason == reason, "no BYE");
	test_check(next_frame() == NULL, "more after BYE");
	close(host.fd);
}

static void test_end(void)
{
	stop_agent();
	expect_bye(AGENT_BYE_ENDED);
}

/* A host that is silent: pages are let go, and a late answer is one still. */
static void test_silence(void)
{
	place_text("conf", "kernel = no\nprograms = no\nroot = %s\nhold_seconds = 1\n", place_path(""));
	start_agent();
	connect_agent(0x301);
	prove_beacons();
	say_credit(100);
	while (host.pages < 100)
		take_batch();
	until_kib("VmLck:", 0);
	check_silence();
	for (uint32_t batch = 1; batch < host.batch; batch++)
		say_ack(batch, 0, 100);
	take_pass();
	stop_agent();
	expect_bye(AGENT_BYE_ENDED);
}

/* ---- nonsense ---- */

static void wrong_batch(void)
{
	say_ack(7, 0, 0);
}

static void too_much_taken(void)
{
	say_credit(10);
	take_batch();
	say_ack(1, 11, 0);
}

static void ack_twice(void)
{
	say_credit(10);
	take_batch();
	say_ack(1, 10, 0);
	say_ack(1, 10, 0);
}

static void too_much_credit(void)
{
	say_credit(AGENT_CREDIT_MAX);
	say_ack(1, 0, AGENT_CREDIT_MAX); /* the first batch has less */
}

static void credit_beyond(void)
{
	say_credit(AGENT_CREDIT_MAX + 1);
}

static void unknown_beacon(void)
{
	say_proof(AGENT_BEACONS_MAX - 1);
}

static void proof_twice(void)
{
	uint32_t beacon = host.beacons & 1 ? 0 : 1;

	say_proof(beacon);
	say_proof(beacon);
}

static void garbage(void)
{
	static const char text[64] = "this is no frame";

	test_check(send(host.fd, text, sizeof(text), MSG_NOSIGNAL) == sizeof(text), "send: %s", strerror(errno));
}

static void absurd_length(void)
{
	struct agent_header header;

	agent_header_init(&header, AGENT_ACK, host.session, UINT32_MAX);
	test_check(send(host.fd, &header, sizeof(header), MSG_NOSIGNAL) == sizeof(header), "send: %s",
		   strerror(errno));
}

static void of_a_guest(void)
{
	struct agent_batch_end end = { .batch = 1 };

	agent_header_init(&end.header, AGENT_BATCH_END, host.session, sizeof(end));
	say(&end.header);
}

static void other_session(void)
{
	host.session++;
	say_credit(1);
	host.session--;
}

static void test_nonsense(void)
{
	static const struct {
		const char *name;
		void (*say)(void);
	} cases[] = {
		{ "an acknowledgement of no batch", wrong_batch },
		{ "more taken than was named", too_much_taken },
		{ "an acknowledgement twice", ack_twice },
		{ "more credit than there can be", too_much_credit },
		{ "credit beyond the limit", credit_beyond },
		{ "proof of no beacon", unknown_beacon },
		{ "proof twice", proof_twice },
		{ "garbage", garbage },
		{ "a frame without end", absurd_length },
		{ "what only guests say", of_a_guest },
		{ "a frame of another session", other_session },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		printf("%s\n", cases[i].name);
		start_agent();
		connect_agent(0x400 + (uint32_t)i);
		cases[i].say();
		expect_bye(AGENT_BYE_BROKEN);
		test_check(agent_kib("VmLck:") == 0, "pages are locked still");
		stop_agent();
		test_progress();
	}
}

/* Another version: not a word is said to it. */
static void test_version(void)
{
	struct agent_welcome welcome = { .modules_max = 1, .batch_pages_max = 1 };

	start_agent();
	await_agent();
	expect(AGENT_KNOCK);
	agent_greeting_init(&welcome.greeting, AGENT_WELCOME, 1, sizeof(welcome));
	welcome.greeting.version++;
	say(&welcome.greeting.header);
	test_check(next_frame() == NULL, "the agent talks to another version");
	close(host.fd);
	stop_agent();
}

/* More files than modules, or than bytes of labels: the others have the first module. */
static void test_modules(void)
{
	struct agent_welcome welcome = { .modules_max = 2, .label_bytes_max = 4096, .batch_pages_max = 1024 };
	const struct agent_header *frame;
	uint32_t modules = 0, others = 0;

	start_agent();
	await_agent();
	expect(AGENT_KNOCK);
	host.session = 0x501;
	agent_greeting_init(&welcome.greeting, AGENT_WELCOME, host.session, sizeof(welcome));
	say(&welcome.greeting.header);
	check_hello(expect(AGENT_HELLO));
	say_credit(AGENT_CREDIT_MAX);
	while ((frame = next_frame()) != NULL) {
		const struct agent_ranges *ranges = (const void *)frame;

		modules += frame->type == AGENT_MODULE;
		for (uint32_t i = 0; frame->type == AGENT_RANGES && i < ranges->count; i++)
			others += ranges->ranges[i].module == 0;
		if (frame->type != AGENT_BATCH_END)
			continue;
		memcpy(&host.end, frame, sizeof(host.end));
		if (host.end.is_last)
			break;
		say_ack(host.end.batch, 0, 0);
	}
	test_check(modules == 2 && others > 0, "%" PRIu32 " modules where there may be 2", modules);
	stop_agent();
	expect_bye(AGENT_BYE_ENDED);
}

int main(int argc, char **argv)
{
	char name[16];

	test_begin(argc, argv);
	place_make();
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		place_file(name, FILE_PAGES);
	}
	test_check(mkdir(place_path("hidden"), 0755) == 0, "mkdir: %s", strerror(errno));
	/* The settings are in there, too, and private, so that they are none of what is named. */
	place_text("conf",
		   "kernel = no\nprograms = no\nroot = %s\nexclude = %s\nexclude = %s\nhold_seconds = 600\n"
		   "interval_seconds = 1\ncpu_permille = 1000\n",
		   place_path(""), place_path("hidden"), place_path("conf"));
	test_check(chmod(place_path("conf"), 0600) == 0, "chmod: %s", strerror(errno));
	listen_on(place_path("socket"));
	start_agent();
	test_beacons();
	test_credit();
	test_held();
	test_memory();
	test_changes();
	test_sessions();
	test_leftovers();
	test_end();
	test_silence();
	test_nonsense();
	test_version();
	test_modules();
	return 0;
}
