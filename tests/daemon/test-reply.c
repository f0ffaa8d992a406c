/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replies reach who asked, byte by byte, whatever room there is; the long ones by the thread, whoever goes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/reply.h"
#include "protocol/wire.h"

#define SHORT_BYTES 1000u
#define LONG_BYTES 1000000u /* more than there is room for in a socket */
#define PATIENCE_MSEC 300000
#define PATIENCE_USEC (1000ull * PATIENCE_MSEC)

static struct fair fair;
static struct fair_user *user;
static sd_event *event;
static struct documents documents;
static int sockets[2];
static unsigned told; /* how often, and what last: */
static int told_last;
static char received[LONG_BYTES];
static size_t received_bytes;

static void on_sent(void *owner, int r)
{
	assert_ptr_equal(owner, &told);
	told++;
	told_last = r;
}

static void await_told(unsigned times)
{
	while (told < times)
		assert_true(sd_event_run(event, PATIENCE_USEC) > 0);
	assert_int_equal(told, times);
}

static int set_up(void **state)
{
	(void)state;
	told = 0;
	received_bytes = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	assert_true(sd_event_new(&event) >= 0);
	user = fair_user_get(&fair, 1000);
	assert_non_null(user);
	assert_int_equal(documents_start(&documents, event, &fair), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	documents_stop(&documents);
	assert_int_equal(user->holders, 1); /* this test */
	fair_user_put(user);
	event = sd_event_unref(event);
	close(sockets[0]);
	close(sockets[1]);
	return 0;
}

static char byte_at(size_t i)
{
	return (char)('!' + i * 31 % 89);
}

static int make_reply(size_t size, struct reply **ret)
{
	const struct reply_to to = { sockets[0], user, &documents, on_sent, &told };
	char *text = malloc(size);

	assert_non_null(text);
	for (size_t i = 0; i < size; i++)
		text[i] = byte_at(i);
	return reply_new(&to, text, size, ret);
}

/* Takes all that is there. @return whether the last packet said that there is no more. */
static bool receive(void)
{
	static _Alignas(8) char packet[WIRE_MESSAGE_MAX];
	const struct wire_header *header = (const void *)packet;
	bool more = true;
	ssize_t r;

	while ((r = recv(sockets[1], packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		size_t body = (size_t)r - sizeof(*header);

		assert_true(more && header->type == WIRE_REPLY && received_bytes + body <= sizeof(received));
		memcpy(received + received_bytes, packet + sizeof(*header), body);
		received_bytes += body;
		more = header->flags & WIRE_MORE;
	}
	return !more;
}

static void check_received(size_t size)
{
	assert_int_equal(received_bytes, size);
	for (size_t i = 0; i < size; i++)
		if (received[i] != byte_at(i))
			fail_msg("byte %zu is another one", i);
}

static void test_short(void **state)
{
	struct reply *reply;

	(void)state;
	assert_int_equal(make_reply(SHORT_BYTES, &reply), 0);
	assert_int_equal(reply_send(reply), 0);
	assert_false(reply_is_in_thread(reply));
	assert_true(receive());
	check_received(SHORT_BYTES);
	reply_free(&reply);
	assert_null(reply);
	assert_int_equal(told, 0);
}

static void test_short_without_room(void **state)
{
	unsigned more = 0;
	struct reply *reply;

	(void)state;
	while (send(sockets[0], &more, sizeof(more), MSG_DONTWAIT) > 0)
		more++;
	assert_int_equal(make_reply(SHORT_BYTES, &reply), 0);
	assert_int_equal(reply_send(reply), -EAGAIN);
	while (recv(sockets[1], &more, sizeof(more), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(reply_send(reply), 0);
	assert_true(receive());
	check_received(SHORT_BYTES);
	reply_free(&reply);
}

static void test_long(void **state)
{
	unsigned rounds = 0;
	struct reply *reply;
	bool all = false;

	(void)state;
	assert_int_equal(make_reply(LONG_BYTES, &reply), 0);
	do {
		rounds++;
		assert_int_equal(reply_send(reply), -EINPROGRESS);
		assert_true(reply_is_in_thread(reply));
		await_told(rounds);
		assert_false(reply_is_in_thread(reply));
		all = receive();
		assert_int_equal(told_last, all ? 0 : -EAGAIN);
	} while (!all);
	assert_true(rounds > 1);
	check_received(LONG_BYTES);
	reply_free(&reply);
}

static void test_peer_gone(void **state)
{
	struct reply *reply;

	(void)state;
	close(sockets[1]);
	assert_int_equal(make_reply(LONG_BYTES, &reply), 0);
	assert_int_equal(reply_send(reply), -EINPROGRESS);
	await_told(1);
	assert_int_equal(told_last, -EPIPE);
	reply_free(&reply);
	sockets[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The thread has sent, the loop does not know it yet, and the connection is closed. */
static void test_freed_in_thread(void **state)
{
	struct pollfd made = { .fd = documents.made_fd, .events = POLLIN };
	struct reply *reply;

	(void)state;
	assert_int_equal(make_reply(LONG_BYTES, &reply), 0);
	assert_int_equal(reply_send(reply), -EINPROGRESS);
	close(sockets[0]);
	sockets[0] = open("/dev/null", O_RDWR | O_CLOEXEC); /* its number is another's by now */
	assert_int_equal(poll(&made, 1, PATIENCE_MSEC), 1);
	reply_free(&reply);
	assert_null(reply);
	assert_true(sd_event_run(event, 0) > 0);
	assert_int_equal(told, 0);
	assert_false(receive());
	assert_true(received_bytes > 0);
}

/* A reply of the same connection's user waits behind another one. */
static void test_freed_waiting(void **state)
{
	struct reply *first, *second;

	(void)state;
	assert_int_equal(make_reply(LONG_BYTES, &first), 0);
	assert_int_equal(make_reply(LONG_BYTES, &second), 0);
	assert_int_equal(reply_send(first), -EINPROGRESS);
	assert_int_equal(reply_send(second), -EINPROGRESS);
	reply_free(&second);
	await_told(1);
	reply_free(&first);
}

static void test_freed_at_the_end(void **state)
{
	struct reply *reply;

	(void)state;
	assert_int_equal(make_reply(LONG_BYTES, &reply), 0);
	assert_int_equal(reply_send(reply), -EINPROGRESS);
	reply_free(&reply);
	documents_stop(&documents);
	assert_int_equal(told, 0);
}

static void test_no_descriptor(void **state)
{
	struct rlimit limit, none;
	struct reply *reply;
	int r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(make_reply(LONG_BYTES, &reply), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((r = reply_send(reply)) == -EAGAIN)
		assert_false(receive());
	assert_int_equal(r, 0);
	assert_true(receive());
	check_received(LONG_BYTES);
	assert_int_equal(told, 0);
	reply_free(&reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_short, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_short_without_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_peer_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_in_thread, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_at_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_descriptor, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
