/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/fake-vmm.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/hash.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define SEGMENTS 64
#define NO_SLOT UINT32_MAX

enum state {
	PRIVATE,
	SHARED,
	ZEROED,
};

struct page {
	enum state state;
	uint32_t slot;
	uint64_t content; /* for pages_fill() */
	uint64_t hash;    /* as last reported, 0 if none was */
	bool large;       /* part of a 2 MiB page */
};

/* The child's own. */
static struct {
	struct fake_options options;
	const char *socket;
	char *ram;
	struct page *pages; /* by page number, from 1 */
	struct fake_link link;
	bool connected, awaiting;
	uint32_t awaited, closes, reused, staged;
	bool was_closed[SEGMENTS], was_given[SEGMENTS];
	uint64_t store; /* whose slots it maps */
	int segments[SEGMENTS];
	int control;
} vmm;

struct question {
	enum fake_request request;
	uint32_t detail;
};

static char *address(uint32_t page)
{
	return vmm.ram + (page - 1) * PAGE_BYTES;
}

static uint32_t count_state(enum state state)
{
	uint32_t count = 0;

	for (uint32_t p = 1; p <= vmm.options.pages; p++)
		count += vmm.pages[p].state == state;
	return count;
}

static void report(uint8_t op, uint32_t page, uint32_t count, uint64_t value)
{
	fake_link_post(&vmm.link, op, page, (uint16_t)count, value);
}

static void report_seen(uint8_t op, uint32_t page, uint64_t value)
{
	struct ring_record record = { .op = op, .count = 1, .page = page, .value = value };

	if (vmm.pages[page].large)
		record.flags = RING_INSIDE_HUGE;
	fake_link_post_record(&vmm.link, &record);
}

/* Whether the 2 MiB page that @page is part of, if it is, has to stay whole. */
static bool has_to_stay(uint32_t page, const struct ring_record *order)
{
	if (!vmm.pages[page].large || (order->flags & RING_MAY_SPLIT) != 0)
		return false;
	report_seen(REPORT_BUSY, page, order->value);
	return true;
}

static void split(uint32_t page)
{
	uint32_t first = page - (page - 1) % RING_BLOCK_PAGES;

	if (!vmm.pages[page].large)
		return;
	for (uint32_t p = first; p < first + RING_BLOCK_PAGES; p++)
		vmm.pages[p].large = false;
}

/* ---- orders ---- */

static void scan_page(const struct ring_record *order, uint32_t p)
{
	struct page *page = &vmm.pages[p];
	uint64_t hash;

	if (page->state != PRIVATE)
		return;
	if (page_is_zero(address(p))) {
		report_seen(REPORT_ZERO, p, 0);
		return;
	}
	if (order->op != ORDER_SCAN)
		return;
	hash = page_hash(address(p), vmm.link.welcome.seed);
	report_seen(REPORT_HASH, p, hash);
	page->hash = hash;
}

static void scan(const struct ring_record *order)
{
	if (order->op != ORDER_AUDIT)
		for (uint32_t p = order->page; p < order->page + order->count; p++)
			scan_page(order, p);
	report(REPORT_SCANNED, order->page, order->count, order->count);
}

static void fetch(const struct ring_record *order)
{
	uint32_t index = vmm.staged++ % RING_STAGING_PAGES;

	/* A staging page is free again when the daemon has consumed the record that named it: at the latest when it has
	 * consumed all. */
	while (index == 0 && vmm.staged > 1 && ring_room(&vmm.link.up) != (int)RING_UP_RECORDS) {
		struct pollfd poll_fd = { .fd = vmm.link.socket, .events = POLLRDHUP };

		if (poll(&poll_fd, 1, 1) > 0)
			return;
	}
	memcpy(ring_staging(vmm.link.ring, index), address(order->page), PAGE_BYTES);
	report(REPORT_FETCHED, order->page, 1, index);
}

static bool equals_slot(uint32_t p, int fd, uint64_t offset)
{
	void *slot = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	bool equal;

	test_check(slot != MAP_FAILED, "map a slot: %s", strerror(errno));
	equal = memcmp(slot, address(p), PAGE_BYTES) == 0;
	munmap(slot, PAGE_BYTES);
	return equal;
}

static void drop_segments(void)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		if (vmm.segments[i] >= 0)
			close(vmm.segments[i]);
		vmm.segments[i] = -1;
	}
}

static void take_packets(void);

static void want_segment(uint32_t segment)
{
	struct pollfd room = { .fd = vmm.link.socket, .events = POLLOUT };

	while (fake_link_want(&vmm.link, segment) == -EAGAIN) /* full of doorbells */
		poll(&room, 1, -1);
	for (unsigned i = 1; i < vmm.options.forgetful; i++)
		(void)fake_link_want(&vmm.link, segment);
	while (vmm.connected && vmm.segments[segment] < 0) {
		test_check(test_readable(vmm.link.socket), "segment %u is not given again",
			   segment);
		take_packets();
	}
}

static uint8_t merge_page(uint32_t p, uint32_t slot)
{
	struct page *page = &vmm.pages[p];
	uint32_t segment = slot / WIRE_SEGMENT_SLOTS_MAX;
	uint64_t offset = slot % WIRE_SEGMENT_SLOTS_MAX * PAGE_BYTES;
	void *place;

	if (segment < SEGMENTS && vmm.segments[segment] < 0 && vmm.was_given[segment])
		want_segment(segment);
	test_check(segment < SEGMENTS && vmm.segments[segment] >= 0, "segment %u was not announced", segment);
	if (!equals_slot(p, vmm.segments[segment], offset))
		return REPORT_DIFFERS;
	place = mmap(address(p), PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, vmm.segments[segment],
		     (off_t)offset);
	test_check(place == address(p), "map a slot for good: %s", strerror(errno));
	split(p);
	page->state = SHARED;
	page->slot = slot;
	return REPORT_MERGED;
}

static void merge(const struct ring_record *order)
{
	for (uint32_t i = 0; i < order->count; i++) {
		struct ring_record part = { .flags = order->flags, .slot = order->slot + i };
		uint8_t answer;

		if (has_to_stay(order->page + i, &part))
			continue;
		answer = merge_page(order->page + i, order->slot + i);

		report(answer, order->page + i, 1, order->slot + i + (vmm.options.defiant ? 1 : 0));
	}
	if (vmm.options.forgetful != 0)
		drop_segments();
}

static void zero(const struct ring_record *order)
{
	for (uint32_t p = order->page; p < order->page + order->count; p++) {
		bool is_zero = page_is_zero(address(p));

		if (has_to_stay(p, order))
			continue;

		if (is_zero) {
			madvise(address(p), PAGE_BYTES, MADV_DONTNEED);
			vmm.pages[p].state = ZEROED;
			split(p);
		}
		report(is_zero ? REPORT_ZEROED : REPORT_DIFFERS, p, 1, 0);
	}
}

static void make_private(uint32_t p)
{
	struct page *page = &vmm.pages[p];
	char copy[PAGE_BYTES];

	if (page->state == PRIVATE)
		return;
	memcpy(copy, address(p), PAGE_BYTES);
	test_check(mmap(address(p), PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			0) != MAP_FAILED,
		   "map anonymous memory: %s", strerror(errno));
	memcpy(address(p), copy, PAGE_BYTES);
	page->state = PRIVATE;
	page->slot = NO_SLOT;
	if (vmm.connected)
		report(REPORT_DIVERGED, p, 1, 0);
}

static void unshare(const struct ring_record *order)
{
	for (uint32_t p = order->page; p < order->page + order->count; p++)
		make_private(p);
	report(REPORT_UNSHARED, order->page, order->count, 0);
}

static void obey(const struct ring_record *order)
{
	test_check(ring_check_order(order) == 0, "order %u is malformed", order->op);
	test_check(order->page + order->count - 1u <= vmm.options.pages, "order %u about page %u: there is none",
		   order->op, order->page);
	switch (order->op) {
	case ORDER_SCAN:
	case ORDER_SCAN_ZERO:
	case ORDER_AUDIT:
		scan(order);
		break;
	case ORDER_FETCH:
		fetch(order);
		break;
	case ORDER_MERGE:
		merge(order);
		break;
	case ORDER_ZERO:
		zero(order);
		break;
	case ORDER_NOTES:
		break;
	case ORDER_WHOLE:
		report(REPORT_WHOLE, order->page, order->count, WHOLE_RELEASED);
		break;
	default:
		unshare(order);
	}
}

/* ---- the connection ---- */

static void disconnect(void)
{
	if (vmm.connected)
		fake_link_close(&vmm.link);
	vmm.connected = false;
	drop_segments();
	memset(vmm.was_given, 0, sizeof(vmm.was_given));
}

static void adopt(void)
{
	for (uint32_t p = 1; p <= vmm.options.pages; p++) {
		if (vmm.pages[p].state == SHARED && vmm.store == vmm.link.welcome.store)
			report(REPORT_ADOPT, p, 1, vmm.pages[p].slot);
		else if (vmm.pages[p].state == ZEROED)
			report(REPORT_ADOPT_ZERO, p, 1, 0);
	}
}

static int connect_now(bool forget)
{
	struct wire_hello hello = { .mode = vmm.options.mode, .store = forget ? 0 : vmm.store };
	int r;

	disconnect();
	snprintf(hello.name, sizeof(hello.name), "%s", vmm.options.name);
	snprintf(hello.domain, sizeof(hello.domain), "%s", vmm.options.domain ? vmm.options.domain : "");
	if (vmm.options.uuid)
		test_check(uuid_parse(vmm.options.uuid, hello.uuid) == 0, "%s is no UUID", vmm.options.uuid);
	hello.flags = vmm.options.mode_unsaid ? WIRE_HELLO_MODE_UNSAID : 0;
	r = fake_link_open_by(&vmm.link, vmm.socket, &hello);
	if (r < 0)
		return r;
	vmm.connected = true;
	vmm.staged = 0;
	if (vmm.store != vmm.link.welcome.store)
		for (uint32_t p = 1; p <= vmm.options.pages; p++)
			if (vmm.pages[p].state == SHARED)
				vmm.pages[p].state = PRIVATE; /* for good: it keeps what it maps */
	vmm.store = vmm.link.welcome.store;
	report(REPORT_REGION_ADD, 1, 1, vmm.options.pages);
	adopt();
	report(REPORT_READY, 1, 1, 0);
	return 0;
}

static void take_packets(void)
{
	char message[WIRE_MESSAGE_MAX];
	const struct wire_segment *segment = (const void *)message;
	int fds[WIRE_FDS_MAX], r;
	size_t size;

	while (vmm.connected) {
		r = wire_receive(vmm.link.socket, message, sizeof(message), &size, fds);
		if (r == -EAGAIN)
			return;
		if (r < 0 || segment->header.type == WIRE_ERROR) {
			disconnect();
			return;
		}
		if (segment->header.type != WIRE_SEGMENT && segment->header.type != WIRE_SEGMENT_CLOSE)
			continue;
		test_check(segment->segment < SEGMENTS, "segment %u is beyond what this test knows", segment->segment);
		if (vmm.segments[segment->segment] >= 0)
			close(vmm.segments[segment->segment]);
		vmm.segments[segment->segment] = fds[0];
		if (segment->header.type == WIRE_SEGMENT_CLOSE)
			vmm.closes++;
		else if (vmm.was_closed[segment->segment])
			vmm.reused++;
		vmm.was_closed[segment->segment] = segment->header.type == WIRE_SEGMENT_CLOSE;
		vmm.was_given[segment->segment] = segment->header.type == WIRE_SEGMENT;
	}
}

static void serve_orders(void)
{
	struct ring_record order;

	take_packets();
	while (vmm.connected && ring_get(&vmm.link.down, &order) == 1) {
		take_packets(); /* what the order names was announced before it */
		if (vmm.connected)
			obey(&order);
		if (vmm.connected && ring_release(&vmm.link.down))
			fake_link_ring(&vmm.link);
	}
}

/* ---- the test's requests ---- */

static uint32_t count_damaged(void)
{
	uint32_t damaged = 0;

	for (uint32_t p = 1; p <= vmm.options.pages; p++)
		damaged += pages_differ(address(p), vmm.pages[p].content) >= 0;
	return damaged;
}

static int any_segment(void)
{
	for (unsigned i = 0; i < SEGMENTS; i++)
		if (vmm.segments[i] >= 0)
			return vmm.segments[i];
	return -1;
}

static pid_t fork_keeper(void)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	drop_segments();
	close(vmm.control);
	if (vmm.connected)
		close(vmm.link.socket);
	alarm(TEST_PATIENCE_SECONDS * TEST_PATIENCE_FACTOR); /* in case the test cannot kill it any more */
	for (;;)
		pause();
}

static void fill(uint32_t page, uint64_t content)
{
	make_private(page);
	vmm.pages[page].content = content;
	pages_fill(address(page), content);
}

static int touch_slot(uint32_t slot)
{
	int fd = vmm.segments[slot / WIRE_SEGMENT_SLOTS_MAX];
	volatile const char *map = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd,
					(off_t)(slot % WIRE_SEGMENT_SLOTS_MAX * PAGE_BYTES));

	if (map == MAP_FAILED)
		return -errno;
	(void)*map;
	munmap((void *)map, PAGE_BYTES);
	return 0;
}

static int connect_agent(void)
{
	struct fake_agent agent = { .port = -1 };

	fake_agent_connect(&agent, vmm.socket);
	return agent.port;
}

/* The socket may be full of doorbells. */
static void tell(const void *message, size_t size, const char *what)
{
	struct pollfd room = { .fd = vmm.link.socket, .events = POLLOUT };
	int r;

	while ((r = wire_send(vmm.link.socket, message, size, NULL, 0)) == -EAGAIN)
		poll(&room, 1, -1);
	test_check(r == 0, "%s: %s", what, strerror(-r));
}

static void tell_image(uint32_t number)
{
	struct wire_image message = { .image = number };

	snprintf(message.label, sizeof(message.label), "/image-%u", number);
	wire_header_init(&message.header, WIRE_IMAGE, sizeof(message));
	tell(&message, sizeof(message), "name an image");
	for (uint32_t p = 1; p <= vmm.options.pages; p++)
		report(REPORT_SOURCE, p, 1, number);
}

static void tell_map(uint32_t gfn)
{
	struct {
		struct wire_header header;
		struct wire_range ranges[2];
	} message = { .ranges = { { 0, 1, 64 }, { gfn, 65, vmm.options.pages - 64 } } };

	wire_header_init(&message.header, WIRE_MEMORY_MAP, sizeof(message));
	message.header.flags = WIRE_FIRST;
	tell(&message, sizeof(message), "tell a map");
}

static void answer(const struct question *question)
{
	struct fake_answer answer = { .fd_of_segment = -1, .fd_of_agent = -1 };

	test_progress();
	switch (question->request) {
	case FAKE_CONNECT:
		answer.error = connect_now(question->detail != 0);
		break;
	case FAKE_DISCONNECT:
		disconnect();
		break;
	case FAKE_WRITE:
		fill(question->detail, UINT64_C(77) << 32 | (uint64_t)getpid() << 40 | question->detail);
		break;
	case FAKE_NEXT_CONTENT:
		for (uint32_t p = 1; p <= vmm.options.common; p++)
			fill(p, (uint64_t)question->detail << 32 | p);
		break;
	case FAKE_TOUCH_SLOT:
		answer.error = touch_slot(question->detail);
		break;
	case FAKE_CHECK:
		answer.damaged = count_damaged();
		break;
	case FAKE_FRAME:
		answer.frame = pages_frame(address(question->detail));
		answer.slot = vmm.pages[question->detail].slot;
		break;
	case FAKE_TOUCH:
		(void)*(volatile const char *)address(question->detail);
		answer.address = (uintptr_t)address(question->detail);
		break;
	case FAKE_FORK:
		answer.pid = fork_keeper();
		break;
	case FAKE_READ:
		tell_image(question->detail);
		break;
	case FAKE_MAP:
		tell_map(question->detail);
		break;
	case FAKE_AGENT:
		answer.fd_of_agent = connect_agent();
		break;
	case FAKE_OPEN_SEGMENT:
		answer.fd_of_segment = any_segment();
		break;
	default:
		break;
	}
	answer.shared = count_state(SHARED);
	answer.zeroed = count_state(ZEROED);
	answer.connected = vmm.connected;
	answer.closes = vmm.closes;
	answer.reused = vmm.reused;
	answer.store = vmm.store;
	answer.seed = vmm.link.welcome.seed;
	answer.welcomed_userfaultfd = vmm.connected && vmm.link.userfaultfd >= 0;
	test_check(send(vmm.control, &answer, sizeof(answer), MSG_NOSIGNAL) > 0, "answer the test: %s",
		   strerror(errno));
}

static void take_question(void)
{
	struct question question;
	ssize_t size = recv(vmm.control, &question, sizeof(question), MSG_DONTWAIT);

	if (size == 0)
		_exit(0);
	if (size < 0)
		return;
	vmm.awaiting = question.request == FAKE_AWAIT;
	vmm.awaited = question.detail;
	if (!vmm.awaiting)
		answer(&question);
}

static void serve(void)
{
	const struct question state = { .request = FAKE_STATE };
	struct pollfd poll_fds[2] = { { .fd = vmm.control, .events = POLLIN } };

	for (;;) {
		serve_orders();
		take_question();
		if (vmm.awaiting && (!vmm.connected || count_state(SHARED) + count_state(ZEROED) >= vmm.awaited)) {
			vmm.awaiting = false;
			answer(&state);
		}
		poll_fds[1] = (struct pollfd){ .fd = vmm.connected ? vmm.link.socket : -1, .events = POLLIN };
		if (vmm.connected) {
			ring_set_waiting(&vmm.link.down, true);
			if (atomic_load(&vmm.link.down.cursors->tail) != vmm.link.down.mine)
				continue;
		}
		poll(poll_fds, 2, -1);
	}
}

static uint64_t content_of(uint32_t page)
{
	if (page <= vmm.options.common)
		return page;
	if (page <= vmm.options.common + vmm.options.zero)
		return 0;
	return (uint64_t)getpid() << 32 | page;
}

static void prepare(void)
{
	vmm.ram = pages_map(vmm.options.pages, false);
	vmm.pages = calloc(vmm.options.pages + 1, sizeof(*vmm.pages));
	test_check(vmm.pages != NULL, "no memory");
	for (uint32_t p = 1; p <= vmm.options.pages; p++) {
		vmm.pages[p] = (struct page){ .slot = NO_SLOT, .content = content_of(p) };
		pages_fill(address(p), vmm.pages[p].content);
		vmm.pages[p].large = vmm.options.large;
	}
	for (unsigned i = 0; i < SEGMENTS; i++)
		vmm.segments[i] = -1;
	vmm.link.socket = -1;
}

void fake_become(uid_t uid, gid_t gid)
{
	test_check(setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0,
		   "become user %u: %s", (unsigned)uid, strerror(errno));
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* was cleared */
}

struct fake_vmm fake_start(const char *socket, const struct fake_options *options)
{
	struct fake_vmm result;
	struct fake_answer first;
	int pair[2];

	test_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair: %s", strerror(errno));
	result.pid = test_fork();
	if (result.pid == 0) {
		close(pair[0]);
		vmm.options = *options;
		vmm.options.mode = options->mode ? options->mode : WIRE_MODE_FULL;
		vmm.socket = socket;
		vmm.control = pair[1];
		if (options->uid != 0)
			fake_become(options->uid, options->gid ? options->gid : options->uid);
		prepare();
		serve();
	}
	close(pair[1]);
	result.control = pair[0];
	first = fake_ask(&result, FAKE_CONNECT, 0);
	test_check(first.error == 0 || options->may_fail, "VM %s cannot connect: %s", options->name,
		   strerror(-first.error));
	return result;
}

struct fake_answer fake_ask(const struct fake_vmm *asked, enum fake_request request, uint32_t detail)
{
	const struct question question = { .request = request, .detail = detail };
	struct fake_answer answer;

	test_check(send(asked->control, &question, sizeof(question), MSG_NOSIGNAL) > 0, "the VM is gone");
	test_check(test_readable(asked->control), "the VM does not answer request %d (%u)",
		   request, detail);
	test_check(recv(asked->control, &answer, sizeof(answer), 0) == sizeof(answer), "the VM is gone");
	return answer;
}

uint64_t fake_frame(const struct fake_vmm *asked, uint32_t page)
{
	return pages_frame_in(asked->pid, (const void *)fake_ask(asked, FAKE_TOUCH, page).address);
}

static int take_fd(const struct fake_vmm *asked, int number)
{
	int pidfd = pidfd_open(asked->pid, 0), fd;

	fd = pidfd_getfd(pidfd, number, 0);
	test_check(fd >= 0, "pidfd_getfd: %s", strerror(errno));
	close(pidfd);
	return fd;
}

int fake_take_segment(const struct fake_vmm *asked)
{
	int number = fake_ask(asked, FAKE_OPEN_SEGMENT, 0).fd_of_segment;

	test_check(number >= 0, "the VM was not given a segment");
	return take_fd(asked, number);
}

struct fake_agent fake_take_agent(const struct fake_vmm *asked)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	struct fake_agent agent = { .port = -1 };
	char byte;

	do {
		test_check(test_patient_msec() < last, "the agent is not welcomed");
		if (agent.port >= 0)
			close(agent.port);
		agent.port = take_fd(asked, fake_ask(asked, FAKE_AGENT, 0).fd_of_agent);
	} while (!test_readable(agent.port) || recv(agent.port, &byte, 1, MSG_PEEK) != 1);
	agent_decoder_init(&agent.decoder, AGENT_HOST);
	return agent;
}

void fake_kill(struct fake_vmm *killed)
{
	kill(killed->pid, SIGKILL);
	test_wait_child(killed->pid);
	close(killed->control);
	killed->pid = 0;
}
