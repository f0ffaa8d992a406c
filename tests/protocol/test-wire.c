/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages: which ones are refused, and that no descriptor is lost or left open on the way. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/page.h"
#include "protocol/wire.h"
#include "tests/protocol/raw-send.h"

static struct wire_hello good_hello(void)
{
	struct wire_hello hello = { .page_bytes = PAGE_BYTES, .mode = WIRE_MODE_FULL, .name = "web1" };

	wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello));
	return hello;
}

static const struct {
	enum wire_type type;
	size_t size;
} fixed[] = {
	{ WIRE_HELLO, sizeof(struct wire_hello) },
	{ WIRE_WELCOME, sizeof(struct wire_welcome) },
	{ WIRE_SEGMENT, sizeof(struct wire_segment) },
	{ WIRE_SEGMENT_CLOSE, sizeof(struct wire_segment) },
	{ WIRE_REFUSED, sizeof(struct wire_refused) },
	{ WIRE_DOORBELL, sizeof(struct wire_header) },
	{ WIRE_SEGMENT_WANTED, sizeof(struct wire_wanted) },
};

/* A message of each fixed type with all fields in range. */
static void good_message(enum wire_type type, void *message, size_t size)
{
	memset(message, 0, size);
	if (type == WIRE_HELLO)
		*(struct wire_hello *)message = good_hello();
	if (type == WIRE_SEGMENT || type == WIRE_SEGMENT_CLOSE)
		((struct wire_segment *)message)->slots = 1;
	if (type == WIRE_REFUSED)
		((struct wire_refused *)message)->reason = WIRE_REASON_LOCKED;
	wire_header_init(message, type, size);
}

static void fixed_types_have_one_size(void **state)
{
	_Alignas(16) char message[512];

	(void)state;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++) {
		good_message(fixed[i].type, message, sizeof(message));
		for (size_t size = 0; size < sizeof(message); size++) {
			struct wire_header *header = (void *)message;

			header->length = (uint32_t)size;
			assert_int_equal(wire_check(message, size), size == fixed[i].size ? 0 : -EPROTO);
		}
	}
}

static void header_is_checked(void **state)
{
	struct wire_hello good = good_hello(), bad;

	(void)state;
	assert_int_equal(wire_check(&good, sizeof(good)), 0);
	bad = good;
	bad.header.magic ^= 1;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTO);
	bad = good;
	bad.header.version++;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTONOSUPPORT);
	bad = good;
	bad.header.length--;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTO);
	bad = good;
	bad.header.flags = 2;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTO);
	bad = good;
	bad.header.type = 0;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTO);
	bad.header.type = WIRE_TYPE_END;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTO);
	bad.header.type = UINT16_MAX;
	assert_int_equal(wire_check(&bad, sizeof(bad)), -EPROTO);
}

static void hello_is_checked(void **state)
{
	static const char *const names[] = { "", "a b", "line\nbreak", "escape\033[31m", "caf\xc3\xa9", "del\x7f" };
	static const char *const bad_domains[] = { "a b", ".", "../uid-0", "a/b", "\xc3\xa9" };
	struct wire_hello hello;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		hello = good_hello();
		memset(hello.name, 0, sizeof(hello.name));
		memcpy(hello.name, names[i], strlen(names[i]));
		assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
	}
	hello = good_hello();
	memset(hello.name, 'x', sizeof(hello.name)); /* no end */
	assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
	hello.name[sizeof(hello.name) - 1] = 0;
	assert_int_equal(wire_check(&hello, sizeof(hello)), 0);
	for (size_t i = 0; i < sizeof(bad_domains) / sizeof(*bad_domains); i++) {
		hello = good_hello();
		memcpy(hello.domain, bad_domains[i], strlen(bad_domains[i]));
		assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
	}
	hello = good_hello();
	strcpy(hello.domain, "uid-1000");
	assert_int_equal(wire_check(&hello, sizeof(hello)), 0);
	memset(hello.domain, 'x', sizeof(hello.domain)); /* no end */
	assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
	hello.domain[sizeof(hello.domain) - 1] = 0;
	assert_int_equal(wire_check(&hello, sizeof(hello)), 0);
	hello = good_hello();
	hello.mode = 0;
	assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
	hello.mode = WIRE_MODE_END;
	assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
	hello = good_hello();
	hello.page_bytes = 16384;
	assert_int_equal(wire_check(&hello, sizeof(hello)), -EPROTO);
}

static void limits_are_checked(void **state)
{
	struct wire_segment segment;
	struct wire_refused refused;

	(void)state;
	good_message(WIRE_SEGMENT, &segment, sizeof(segment));
	segment.slots = WIRE_SEGMENT_SLOTS_MAX;
	assert_int_equal(wire_check(&segment, sizeof(segment)), 0);
	segment.slots++;
	assert_int_equal(wire_check(&segment, sizeof(segment)), -EPROTO);
	segment.slots = 0;
	assert_int_equal(wire_check(&segment, sizeof(segment)), -EPROTO);
	for (uint32_t reason = 0; reason <= WIRE_REASON_END; reason++) {
		int wanted = reason != 0 && reason < WIRE_REASON_END ? 0 : -EPROTO;

		good_message(WIRE_REFUSED, &refused, sizeof(refused));
		refused.reason = reason;
		assert_int_equal(wire_check(&refused, sizeof(refused)), wanted);
		assert_int_equal(strcmp(wire_reason_name(reason), "unknown") != 0, wanted == 0);
		assert_non_null(wire_reason_text(reason));
	}
}

static void modes_have_names(void **state)
{
	(void)state;
	for (int mode = 1; mode < WIRE_MODE_END; mode++)
		assert_int_equal(wire_mode_parse(wire_mode_name((uint32_t)mode)), mode);
	assert_int_equal(wire_mode_parse("unknown"), -EINVAL);
	assert_int_equal(wire_mode_parse(""), -EINVAL);
	assert_string_equal(wire_mode_name(WIRE_MODE_END), "unknown");
}

/* ---- over a socket ---- */

static unsigned open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

static void make_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

static void a_message_arrives_with_its_descriptors(void **state)
{
	struct wire_hello sent = good_hello(), received;
	unsigned before = open_descriptors();
	int pair[2], fds[WIRE_FDS_MAX];
	size_t size;

	(void)state;
	make_pair(pair);
	assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, fds), -EAGAIN);
	assert_int_equal(wire_send(pair[0], &sent, sizeof(sent), pair, 2), 0);
	assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, fds), 0);
	assert_int_equal(size, sizeof(sent));
	assert_memory_equal(&sent, &received, sizeof(sent));
	for (unsigned i = 0; i < WIRE_FDS_MAX; i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
	close(pair[0]);
	assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, fds), -ECONNRESET);
	close(pair[1]);
	assert_int_equal(open_descriptors(), before);
}

static void too_much_is_not_sent(void **state)
{
	static char large[WIRE_MESSAGE_MAX + 1];
	int fds[WIRE_FDS_MAX + 1] = { 0 }, pair[2];

	(void)state;
	make_pair(pair);
	assert_int_equal(wire_send(pair[0], large, sizeof(large), NULL, 0), -EINVAL);
	assert_int_equal(wire_send(pair[0], large, 16, fds, WIRE_FDS_MAX + 1), -EINVAL);
	close_pair(pair);
}

static void send_raw(int socket, const void *message, size_t size, unsigned fd_count)
{
	assert_int_equal(raw_send(socket, message, size, fd_count), (ssize_t)size);
}

static void what_is_refused_leaves_no_descriptor(void **state)
{
	struct wire_hello hello = good_hello(), received;
	unsigned before;
	int pair[2], fds[WIRE_FDS_MAX];
	size_t size;

	(void)state;
	make_pair(pair);
	before = open_descriptors();
	for (unsigned fd_count = 0; fd_count <= 8; fd_count++) {
		send_raw(pair[0], &hello, sizeof(hello) - 1, fd_count); /* too short for its type */
		assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, fds), -EPROTO);
		assert_int_equal(fds[0], -1);
		assert_int_equal(open_descriptors(), before);
		send_raw(pair[0], &hello, sizeof(hello), fd_count); /* too long for the room there is */
		assert_int_equal(wire_receive(pair[1], &received, sizeof(received) - 8, &size, fds), -EPROTO);
		assert_int_equal(open_descriptors(), before);
	}
	send_raw(pair[0], &hello, sizeof(hello), 1); /* where none is wanted */
	assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, NULL), -EPROTO);
	assert_int_equal(open_descriptors(), before);
	send_raw(pair[0], &hello, sizeof(hello), 0);
	assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, NULL), 0);
	send_raw(pair[0], &hello, sizeof(hello), WIRE_FDS_MAX + 2); /* more descriptors than any message has */
	assert_int_equal(wire_receive(pair[1], &received, sizeof(received), &size, fds), -EPROTO);
	assert_int_equal(open_descriptors(), before);
	close_pair(pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed_types_have_one_size),
		cmocka_unit_test(header_is_checked),
		cmocka_unit_test(hello_is_checked),
		cmocka_unit_test(limits_are_checked),
		cmocka_unit_test(modes_have_names),
		cmocka_unit_test(a_message_arrives_with_its_descriptors),
		cmocka_unit_test(too_much_is_not_sent),
		cmocka_unit_test(what_is_refused_leaves_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
