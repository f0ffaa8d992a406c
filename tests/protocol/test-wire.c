/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages: which ones are refused, and that no descriptor is lost or left open on the way. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/page.h"
#include "protocol/ring.h"
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
	{ WIRE_SEGMENT, sizeof(struct wire_segment) },
	{ WIRE_SEGMENT_CLOSE, sizeof(struct wire_segment) },
	{ WIRE_REFUSED, sizeof(struct wire_refused) },
	{ WIRE_DOORBELL, sizeof(struct wire_header) },
	{ WIRE_SEGMENT_WANTED, sizeof(struct wire_wanted) },
	{ WIRE_IMAGE, sizeof(struct wire_image) },
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
	if (type == WIRE_IMAGE)
		*(struct wire_image *)message = (struct wire_image){ .image = 1, .label = "/a" };
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
	bad.header.flags = WIRE_FIRST;
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
	hello.mode = WIRE_MODE_END; /* of a newer release: told apart when it is greeted */
	assert_int_equal(wire_check(&hello, sizeof(hello)), 0);
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
		bool known = reason != 0 && reason < WIRE_REASON_END;

		good_message(WIRE_REFUSED, &refused, sizeof(refused));
		refused.reason = reason;
		assert_int_equal(wire_check(&refused, sizeof(refused)), reason != 0 ? 0 : -EPROTO);
		assert_int_equal(strcmp(wire_reason_name(reason), "unknown") != 0, known);
		assert_non_null(wire_reason_text(reason));
	}
}

/* HELLO and WELCOME of all releases, from the first one on. */
static void greetings_grow_at_their_ends(void **state)
{
	static const struct {
		enum wire_type type;
		size_t least;
	} greetings[] = { { WIRE_HELLO, WIRE_HELLO_LEAST }, { WIRE_WELCOME, WIRE_WELCOME_LEAST } };
	_Alignas(16) char message[WIRE_GREETING_MAX + 16];

	(void)state;
	for (size_t i = 0; i < sizeof(greetings) / sizeof(*greetings); i++) {
		good_message(greetings[i].type, message, sizeof(message));
		for (size_t size = 0; size <= sizeof(message); size++) {
			bool fits = size >= greetings[i].least && size <= WIRE_GREETING_MAX && size % 8 == 0;

			((struct wire_header *)message)->length = (uint32_t)size;
			assert_int_equal(wire_check(message, size), fits ? 0 : -EPROTO);
		}
	}
}

static void what_a_greeting_lacks_is_zero(void **state)
{
	_Alignas(16) char message[WIRE_GREETING_MAX];
	struct wire_welcome welcome;
	struct wire_hello hello;

	(void)state;
	memset(message, 0xff, sizeof(message));
	*(struct wire_hello *)message = good_hello();
	((struct wire_hello *)message)->features = UINT64_MAX;
	((struct wire_hello *)message)->required = 5;
	for (size_t size = WIRE_HELLO_LEAST; size <= sizeof(message); size += 8) {
		((struct wire_header *)message)->length = (uint32_t)size;
		wire_take_hello(message, &hello);
		assert_string_equal(hello.name, "web1");
		assert_true(hello.features == (size > WIRE_HELLO_LEAST ? UINT64_MAX : 0));
		assert_int_equal(hello.required, size > WIRE_HELLO_LEAST + 8 ? 5 : 0);
	}
	memset(message, 0xff, sizeof(message));
	wire_header_init((void *)message, WIRE_WELCOME, WIRE_WELCOME_LEAST);
	wire_take_welcome(message, &welcome);
	assert_true(welcome.seed == UINT64_MAX && welcome.features == 0 && welcome.required == 0);
}

static void features_have_names(void **state)
{
	char name[32];

	(void)state;
	for (unsigned bit = 0; bit < WIRE_FEATURE_END; bit++) {
		wire_feature_name(UINT64_C(1) << bit, name, sizeof(name));
		assert_true((name[0] >= '0' && name[0] <= '9') == ((WIRE_FEATURES & UINT64_C(1) << bit) == 0));
	}
	assert_true((WIRE_FEATURES & UINT64_C(1) << 6) == 0); /* what this bit said is no longer so */
	wire_feature_name(UINT64_C(1) << 63, name, sizeof(name));
	assert_string_equal(name, "63");
	wire_feature_name(UINT64_C(3) << WIRE_FEATURE_MEMORY_MAP, name, sizeof(name));
	assert_string_equal(name, "memory-map");
}

static int check_ranges(const struct wire_range *ranges, size_t count, uint32_t flags)
{
	struct {
		struct wire_header header;
		struct wire_range ranges[4];
	} message;
	size_t size = sizeof(message.header) + count * sizeof(*ranges);

	wire_header_init(&message.header, WIRE_MEMORY_MAP, size);
	message.header.flags = flags;
	memcpy(message.ranges, ranges, count * sizeof(*ranges));
	return wire_check(&message, size);
}

static void maps_are_in_order(void **state)
{
	static const struct wire_range good[] = { { 0, 1, 160 }, { 256, 257, 100 }, { 356, 1, 1 } };
	static const struct wire_range last = { WIRE_GFN_END - 2, 1, 2 }, most = { 0, 1, UINT32_MAX - 1 };
	static const struct wire_range bad[] = { { 0, 0, 1 },
						 { 0, 1, 0 },
						 { 0, 2, UINT32_MAX - 1 },
						 { WIRE_GFN_END, 1, 1 },
						 { UINT64_MAX, 1, 1 },
						 { WIRE_GFN_END - 2, 1, 3 } };
	static const struct wire_range across[] = { { 0, 1, 160 }, { 159, 257, 100 } };
	static const struct wire_range back[] = { { 256, 1, 1 }, { 0, 257, 1 } };

	(void)state;
	for (size_t count = 0; count <= 3; count++)
		assert_int_equal(check_ranges(good, count, WIRE_FIRST | WIRE_MORE), 0);
	assert_int_equal(check_ranges(&last, 1, 0), 0);
	assert_int_equal(check_ranges(&most, 1, 0), 0);
	assert_int_equal(check_ranges(good, 1, 4), -EPROTO);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(check_ranges(&bad[i], 1, 0), -EPROTO);
	assert_int_equal(check_ranges(across, 2, 0), -EPROTO);
	assert_int_equal(check_ranges(back, 2, 0), -EPROTO);
}

static int check_image(uint32_t number, const char *label, size_t bytes)
{
	struct wire_image image = { .image = number };

	memcpy(image.label, label, bytes);
	wire_header_init(&image.header, WIRE_IMAGE, sizeof(image));
	return wire_check(&image, sizeof(image));
}

static void images_are_checked(void **state)
{
	char longest[LABEL_MAX + 1];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(check_image(1, "/images/b\xc3\xa4se image.qcow2", 25), 0);
	assert_int_equal(check_image(RING_IMAGES_MAX, longest, LABEL_MAX), 0);
	assert_int_equal(check_image(1, longest, LABEL_MAX + 1), -EPROTO); /* no end */
	assert_int_equal(check_image(0, "/a", 2), -EPROTO);
	assert_int_equal(check_image(RING_IMAGES_MAX + 1, "/a", 2), -EPROTO);
	assert_int_equal(check_image(1, "", 0), -EPROTO);
	assert_int_equal(check_image(1, "/a\nb", 4), -EPROTO);
	assert_int_equal(check_image(1, "/a\033[31m", 7), -EPROTO);
	assert_int_equal(check_image(1, "/a\xc2\x9b", 4), -EPROTO);
	assert_int_equal(check_image(1, "/a\xff", 3), -EPROTO);
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
		cmocka_unit_test(greetings_grow_at_their_ends),
		cmocka_unit_test(what_a_greeting_lacks_is_zero),
		cmocka_unit_test(features_have_names),
		cmocka_unit_test(maps_are_in_order),
		cmocka_unit_test(images_are_checked),
		cmocka_unit_test(modes_have_names),
		cmocka_unit_test(a_message_arrives_with_its_descriptors),
		cmocka_unit_test(too_much_is_not_sent),
		cmocka_unit_test(what_is_refused_leaves_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
