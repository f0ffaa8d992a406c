/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/attackers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/hash.h"
#include "tests/daemon/fake-agent.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/support/test.h"

#define REGION_PAGES ATTACKER_REGION_PAGES
#define MANY_PAGES (UINT64_C(1) << 20)
#define CONNECTIONS 300u /* that one process tries to have */
#define OPENED_AT_ONCE 8 /* of these: more would only have it wait for the daemon to accept them */
#define MOMENT_MSEC 5    /* what has nobody to wait for does not take the test's CPUs from all others */
#define GFN UINT64_C(0x100)
#define SEGMENT_TAKER_PAGES 4096u
#define KEPT_PAGES 512u

/* The attacker's own. */
static struct attacker_options options;
static const char *daemon_socket;
static uint64_t *deeds;
static struct fake_link to_daemon;
static uint32_t staged;
static uint64_t content_round;

static void count_deed(void)
{
	__atomic_add_fetch(deeds, 1, __ATOMIC_RELAXED);
	test_progress();
}

static void wait_a_moment(void)
{
	poll(NULL, 0, MOMENT_MSEC);
}

/* ---- at the control socket ---- */

/* @return a socket, or -1. */
static int connect_to(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool has_ended(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLRDHUP };

	return poll(&poll_fd, 1, 0) > 0;
}

/* @return whether there was room. */
static bool ask(int fd, int flags)
{
	static const char text[] = "{\"command\":\"status\"}";
	struct {
		struct wire_header header;
		char text[sizeof(text) - 1];
	} request;

	wire_header_init(&request.header, WIRE_REQUEST, sizeof(request.header) + sizeof(request.text));
	memcpy(request.text, text, sizeof(request.text));
	return send(fd, &request, sizeof(request.header) + sizeof(request.text), MSG_NOSIGNAL | flags) > 0;
}

/* @return false at the end of the connection. */
static bool read_reply(int fd)
{
	static _Alignas(8) char message[WIRE_MESSAGE_MAX];
	struct wire_header header = { .flags = WIRE_MORE };

	while (header.flags & WIRE_MORE) {
		if (recv(fd, message, sizeof(message), 0) <= 0)
			return false;
		memcpy(&header, message, sizeof(header));
	}
	return header.type == WIRE_REPLY;
}

static void ask_without_end(void)
{
	int fd = connect_to(daemon_socket, SOCK_SEQPACKET);

	while (fd >= 0 && ask(fd, 0) && read_reply(fd))
		count_deed();
	if (fd >= 0)
		close(fd);
	wait_a_moment();
}

/* Has as many connections as it gets, and @use() each again and again; those that were ended are replaced. */
static void use_many(int type, bool (*use)(int fd))
{
	int fds[CONNECTIONS];

	memset(fds, -1, sizeof(fds));
	for (unsigned first = 0;; first = (first + OPENED_AT_ONCE) % CONNECTIONS) { /* each has its turn */
		unsigned opened = 0;

		for (unsigned n = 0; n < CONNECTIONS; n++) {
			unsigned i = (first + n) % CONNECTIONS;

			if (fds[i] >= 0 && has_ended(fds[i])) {
				close(fds[i]);
				fds[i] = -1;
			}
			if (fds[i] < 0 && opened++ < OPENED_AT_ONCE)
				fds[i] = connect_to(daemon_socket, type);
			if (fds[i] >= 0 && use(fds[i]))
				count_deed();
		}
		wait_a_moment();
	}
}

static bool ask_deafly(int fd)
{
	return ask(fd, MSG_DONTWAIT);
}

/* Each third one says nothing, and stays. */
static bool say_half(int fd)
{
	struct wire_hello hello = { .page_bytes = PAGE_BYTES, .mode = WIRE_MODE_FULL, .name = "half" };

	wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello));
	if (fd % 3 == 0)
		return true;
	return send(fd, &hello, sizeof(hello) / (fd % 3 == 1 ? 2 : 5), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

static void knock(void)
{
	int fd = connect_to(daemon_socket, SOCK_SEQPACKET);

	if (fd < 0)
		return;
	close(fd);
	count_deed();
}

/* ---- a VMM that makes contents up, and has no memory of its own for them ---- */

static void make_up(void *content, uint64_t number)
{
	memset(content, 0, PAGE_BYTES);
	memcpy(content, &(uint64_t){ number | UINT64_C(1) << 60 }, sizeof(number));
}

/* Of two pages each; or two for all pages. */
static uint64_t content_of(uint32_t page)
{
	return (options.attack == ATTACK_STRIPES ? page % 2 : page / 2) + (content_round << 32);
}

static uint64_t hash_of(uint64_t number)
{
	unsigned char content[PAGE_BYTES];

	make_up(content, number);
	return page_hash(content, to_daemon.welcome.seed);
}

static void answer(const struct ring_record *order)
{
	struct ring_record report = { .op = REPORT_MERGED, .count = order->count, .page = order->page };
	uint32_t index;

	if (order->op == ORDER_FETCH) {
		index = staged++ % RING_STAGING_PAGES;
		while (index == 0 && staged > 1 && ring_room(&to_daemon.up) != (int)RING_UP_RECORDS &&
		       !has_ended(to_daemon.socket))
			poll(NULL, 0, 1);
		make_up(ring_staging(to_daemon.ring, index), content_of(order->page));
		fake_link_post(&to_daemon, REPORT_FETCHED, order->page, 1, index);
	} else if (order->op == ORDER_MERGE) {
		report.slot = order->slot;
		fake_link_post(&to_daemon, REPORT_MERGED, order->page, order->count, report.value);
	} else if (order->op == ORDER_SCAN || order->op == ORDER_SCAN_ZERO || order->op == ORDER_AUDIT) {
		fake_link_post(&to_daemon, REPORT_SCANNED, order->page, order->count, order->count);
	}
}

static void obey(void)
{
	struct ring_record order;
	char message[WIRE_MESSAGE_MAX];

	while (ring_get(&to_daemon.down, &order) == 1) {
		if (ring_release(&to_daemon.down))
			fake_link_ring(&to_daemon);
		answer(&order);
	}
	while (recv(to_daemon.socket, message, sizeof(message), MSG_DONTWAIT) > 0)
		;
}

static void obey_only(void)
{
	while (!has_ended(to_daemon.socket)) {
		obey();
		poll(NULL, 0, 1);
	}
}

/* @return whether it was let in. */
static bool join(void)
{
	if (fake_link_open(&to_daemon, daemon_socket, options.name, WIRE_MODE_FULL, 0) == 0)
		return true;
	wait_a_moment();
	return false;
}

static void map_without_touching(uint64_t pages)
{
	static bool mapped;

	if (!mapped)
		test_check(mmap(NULL, pages * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
				0) != MAP_FAILED,
			   "map %llu pages: %s", (unsigned long long)pages, strerror(errno));
	mapped = true;
}

/* From page 2 on, so that both pages of a content are in one region. @return the page behind. */
static uint32_t add_regions(uint64_t pages)
{
	uint32_t page = 2;

	for (uint64_t left = pages; left > 0;) {
		uint64_t count = left < REGION_PAGES ? left : REGION_PAGES;

		fake_link_post(&to_daemon, REPORT_REGION_ADD, page, 1, count);
		page += (uint32_t)count;
		left -= count;
	}
	return page;
}

static void await_taken_in(void)
{
	while (ring_room(&to_daemon.up) != (int)RING_UP_RECORDS && !has_ended(to_daemon.socket))
		wait_a_moment();
}

static bool join_with(uint64_t pages)
{
	if (!join())
		return false;
	add_regions(pages);
	fake_link_post(&to_daemon, REPORT_READY, 1, 1, 0);
	return true;
}

/* Contents that it makes up, each for as many pages as @same; if for one, other ones in each round. */
static void make_contents_up(uint32_t same)
{
	if (!join_with(options.pages))
		return;
	for (uint64_t round = 0; !has_ended(to_daemon.socket); round++) {
		for (uint32_t i = 2; i < options.pages; i++) {
			uint64_t number = i / same + (same == 1 ? round << 32 : 0);

			fake_link_post(&to_daemon, REPORT_HASH, i, 1, hash_of(number));
			if (i % 64 == 0)
				count_deed();
			obey();
			if (i % 64 == 0 && has_ended(to_daemon.socket))
				break;
		}
		if (options.once && same == 1)
			obey_only();
		wait_a_moment(); /* what came to nothing, as it had no CPU for long, is told once more */
	}
	fake_link_close(&to_daemon);
}

static void make_hashes_up(void)
{
	make_contents_up(1);
}

static void take_slots(void)
{
	make_contents_up(2);
}

/* What changes is merged when it is seen twice; each KEPT_PAGES stay shared. */
static void take_segments(void)
{
	if (!join_with(SEGMENT_TAKER_PAGES))
		return;
	for (content_round = 0; !has_ended(to_daemon.socket); content_round++) {
		for (uint32_t i = 2; i < SEGMENT_TAKER_PAGES; i++) {
			if (content_round > 0 && i % KEPT_PAGES > 1)
				fake_link_post(&to_daemon, REPORT_DIVERGED, i, 1, 0);
			fake_link_post(&to_daemon, REPORT_HASH, i, 1, hash_of(content_of(i)));
			fake_link_post(&to_daemon, REPORT_HASH, i, 1, hash_of(content_of(i)));
			obey();
		}
		count_deed();
	}
	fake_link_close(&to_daemon);
}

static void claim(void)
{
	if (!join_with(options.pages))
		return;
	await_taken_in();
	count_deed();
	if (options.once)
		obey_only();
	wait_a_moment();
	obey();
	fake_link_close(&to_daemon);
}

/* ---- other VMMs ---- */

static void take_numbers(void)
{
	const uint64_t numbers = UINT64_C(1) << 31;

	map_without_touching(numbers / 2);
	if (!join_with(16))
		return;
	for (uint32_t page = 18; page < UINT32_MAX - 2 * REGION_PAGES && !has_ended(to_daemon.socket);) {
		const uint32_t first = page;

		for (unsigned i = 0; i < 256 && page < UINT32_MAX - 2 * REGION_PAGES; i++, page += REGION_PAGES)
			fake_link_post(&to_daemon, REPORT_REGION_ADD, page, 1, REGION_PAGES);
		count_deed();
		obey();
		for (uint32_t gone = first; gone < page; gone += REGION_PAGES)
			fake_link_post(&to_daemon, REPORT_REGION_REMOVE, gone, 1, 0);
		obey();
		wait_a_moment();
	}
	fake_link_close(&to_daemon);
}

/* A run of pages of zeros is an order; it takes none of them. */
static void have_orders_made(void)
{
	const uint32_t runs = 8192;

	map_without_touching(runs * RING_RUN_PAGES_MAX + 2);
	if (!join_with(runs * RING_RUN_PAGES_MAX))
		return;
	for (uint32_t i = 0; i < runs; i++)
		fake_link_post(&to_daemon, REPORT_ZERO, 2 + i * RING_RUN_PAGES_MAX, RING_RUN_PAGES_MAX, 0);
	await_taken_in();
	fake_link_close(&to_daemon);
	count_deed();
}

static void come_and_go(void)
{
	pid_t pid = test_fork();

	if (pid == 0) {
		if (join_with(16))
			obey();
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, NULL, 0) == pid)
		count_deed();
}

/* Sends and waits for room. @return false at the end of the connection. */
static bool send_patiently(const struct wire_header *message)
{
	return send(to_daemon.socket, message, message->length, MSG_NOSIGNAL) > 0;
}

static void ring_doorbells(void)
{
	struct wire_header doorbell;

	wire_header_init(&doorbell, WIRE_DOORBELL, sizeof(doorbell));
	if (!join_with(16))
		return;
	while (send_patiently(&doorbell))
		count_deed();
	fake_link_close(&to_daemon);
}

static void spoil_rings(void)
{
	static uint64_t random;

	if (random == 0)
		random = test_seed((uint64_t)getpid());
	if (!join_with(16))
		return;
	fake_link_spoil(&to_daemon, &random);
	fake_link_close(&to_daemon);
	count_deed();
}

/* One map of as many ranges as there can be, a page each, in chunks. @return false at the end. */
static bool tell_map(void)
{
	static struct {
		struct wire_header header;
		struct wire_range ranges[WIRE_RANGES_PER_MESSAGE];
	} map;
	uint32_t told = 0;

	while (told < WIRE_RANGES_MAX) {
		uint32_t left = WIRE_RANGES_MAX - told, count = 0;

		for (; count < left && count < WIRE_RANGES_PER_MESSAGE; count++)
			map.ranges[count] = (struct wire_range){
				.gfn = GFN + 2 * (told + count), .page = WIRE_RANGES_MAX + 2 - told - count, .pages = 1
			};
		wire_header_init(&map.header, WIRE_MEMORY_MAP, sizeof(map.header) + count * sizeof(map.ranges[0]));
		map.header.flags = (told == 0 ? WIRE_FIRST : 0) | (count < left ? WIRE_MORE : 0);
		if (!send_patiently(&map.header))
			return false;
		told += count;
	}
	return true;
}

static void tell_maps(void)
{
	if (!join_with(WIRE_RANGES_MAX + 16))
		return;
	while (tell_map())
		count_deed();
	fake_link_close(&to_daemon);
}

/* ---- an agent ---- */

/* It obeys as VMM meanwhile, so that what the agent names is looked at. */
static void say_anything(struct fake_agent *agent)
{
	static uint8_t bytes[PAGE_BYTES];
	uint32_t batch = 1;

	while (!has_ended(agent->port) && !has_ended(to_daemon.socket)) {
		switch (batch % 64) {
		case 1:
			fake_agent_say_beacon(agent, batch / 64 % AGENT_BEACONS_MAX, GFN + batch % 16, bytes);
			break;
		case 63:
			fake_agent_say_knock(agent);
			break;
		default:
			fake_agent_say_range(agent, batch, GFN + batch % 1024, 1024);
		}
		batch++;
		obey();
		count_deed();
	}
}

static void be_an_agent(void)
{
	static struct fake_agent agent = { .port = -1 };

	if (!join_with(WIRE_RANGES_MAX + 16))
		return;
	if (tell_map()) {
		await_taken_in();
		fake_agent_connect(&agent, daemon_socket);
		if (fake_agent_greet(&agent, GFN, WIRE_RANGES_MAX))
			say_anything(&agent);
	}
	fake_link_close(&to_daemon);
}

/* ---- all of them ---- */

static void ask_on_many(void)
{
	use_many(SOCK_SEQPACKET, ask_deafly);
}

static void say_half_on_many(void)
{
	use_many(SOCK_SEQPACKET, say_half);
}

static const struct {
	const char *name;
	void (*attack)(void);
} attacks[ATTACK_END] = {
	[ATTACK_ASK] = { "ask", ask_without_end },
	[ATTACK_DEAF] = { "deaf", ask_on_many },
	[ATTACK_HALF] = { "half", say_half_on_many },
	[ATTACK_KNOCK] = { "knock", knock },
	[ATTACK_COME_AND_GO] = { "come-and-go", come_and_go },
	[ATTACK_DOORBELLS] = { "doorbells", ring_doorbells },
	[ATTACK_GARBAGE] = { "garbage", spoil_rings },
	[ATTACK_MAPS] = { "maps", tell_maps },
	[ATTACK_HASHES] = { "hashes", make_hashes_up },
	[ATTACK_CONTENTS] = { "contents", take_slots },
	[ATTACK_SEGMENTS] = { "segments", take_segments },
	[ATTACK_STRIPES] = { "stripes", take_segments },
	[ATTACK_CLAIMS] = { "claims", claim },
	[ATTACK_NUMBERS] = { "numbers", take_numbers },
	[ATTACK_WITHDRAW] = { "withdraw", have_orders_made },
	[ATTACK_AGENT] = { "agent", be_an_agent },
};

const char *attack_name(enum attack attack)
{
	return attacks[attack].name;
}

/* What the daemon refuses is told by fake-link.c each time. */
static void be_quiet(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)dup2(null, STDERR_FILENO);
	close(null);
}

struct attacker attacker_start(const char *socket, const struct attacker_options *wanted)
{
	struct attacker attacker = { .attack = wanted->attack };

	attacker.deeds = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(attacker.deeds != MAP_FAILED, "mmap: %s", strerror(errno));
	attacker.pid = test_fork();
	if (attacker.pid != 0)
		return attacker;
	options = *wanted;
	if (options.name == NULL)
		options.name = attack_name(options.attack);
	if (options.pages == 0)
		options.pages = MANY_PAGES;
	daemon_socket = socket;
	deeds = attacker.deeds;
	test_check(options.nice == 0 || setpriority(PRIO_PROCESS, 0, options.nice) == 0, "setpriority: %s",
		   strerror(errno));
	if (options.uid != 0)
		fake_become(options.uid, options.gid ? options.gid : options.uid);
	if (options.has_mapped)
		map_without_touching(options.pages);
	if (!options.once)
		be_quiet();
	for (;;)
		attacks[options.attack].attack();
}

uint64_t attacker_deeds(const struct attacker *attacker)
{
	return __atomic_load_n(attacker->deeds, __ATOMIC_RELAXED);
}

void attacker_stop(struct attacker *attacker)
{
	kill(attacker->pid, SIGKILL);
	test_wait_child(attacker->pid);
	munmap(attacker->deeds, PAGE_BYTES);
	attacker->pid = 0;
}
