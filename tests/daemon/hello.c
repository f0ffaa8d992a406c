/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a VMM is received: what WELCOME brings, what a ring allows, names, and peers of other releases. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

static void check_ring(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	test_check(fstat(fd, &st) == 0 && st.st_size == (off_t)RING_BYTES, "the ring has %ld bytes", (long)st.st_size);
	test_check((seals & (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) == (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
		   "the ring's seals are 0x%x", seals);
	test_check(ftruncate(fd, 0) < 0 && errno == EPERM, "the ring can be shrunk");
	test_check(ftruncate(fd, 2 * (off_t)RING_BYTES) < 0 && errno == EPERM, "the ring can be grown");
}

static void check_welcome(const struct instance *instance)
{
	struct fake_link first, second;

	test_check(fake_link_open(&first, instance->socket, "one", WIRE_MODE_FULL, 0) == 0, "no welcome");
	test_check(first.welcome.store != 0, "the store has no identity");
	check_ring(first.ring_fd);
	if (access("/dev/userfaultfd", R_OK | W_OK) == 0)
		test_check(first.userfaultfd >= 0, "no userfaultfd came");
	test_check((first.userfaultfd >= 0) == (first.welcome.has_userfaultfd != 0), "has_userfaultfd is wrong");
	fake_link_post(&first, REPORT_REGION_ADD, 1, 1, 16);
	fake_link_post(&first, REPORT_READY, 1, 1, 0);
	instance_await(instance, "one", "ram_bytes", 16 * PAGE_BYTES);
	/* The same process once more: it takes the place of the older connection. */
	test_check(fake_link_open(&second, instance->socket, "one", WIRE_MODE_ZERO, first.welcome.store) == 0,
		   "no second welcome");
	test_check(second.welcome.store == first.welcome.store && second.welcome.seed == first.welcome.seed,
		   "another store, or another seed");
	fake_link_post(&second, REPORT_REGION_ADD, 1, 1, 8);
	fake_link_post(&second, REPORT_READY, 1, 1, 0);
	instance_await(instance, "one", "ram_bytes", 8 * PAGE_BYTES);
	fake_link_close(&first);
	fake_link_close(&second);
	instance_await_disconnected(instance, "one");
}

static void check_names(const struct instance *instance)
{
	const struct fake_options options = { .name = "twin", .pages = 4 };
	struct fake_vmm a = fake_start(instance->socket, &options), b = fake_start(instance->socket, &options);

	test_check(instance_vm(instance, "twin", "pid") == a.pid, "the first has not got the name");
	test_check(instance_vm(instance, "twin-2", "pid") == b.pid, "the second has not got the name with a suffix");
	fake_ask(&b, FAKE_DISCONNECT, 0);
	test_check(fake_ask(&b, FAKE_CONNECT, 0).error == 0, "cannot connect again");
	test_check(instance_vm(instance, "twin-2", "pid") == b.pid, "the name was lost by connecting again");
	fake_kill(&a);
	fake_kill(&b);
	instance_await(instance, "twin", "pid", -1);
	instance_await(instance, "twin-2", "pid", -1);
}

/* ---- peers of other releases ---- */

union greeting {
	struct wire_hello hello;
	struct wire_header header;
	char bytes[WIRE_GREETING_MAX + 64];
};

static union greeting greeting_of(const char *name, size_t size, uint64_t required)
{
	union greeting message = { .hello = { .page_bytes = PAGE_BYTES, .mode = WIRE_MODE_FULL } };

	memset(message.bytes + sizeof(message.hello), 0xff, sizeof(message) - sizeof(message.hello));
	wire_header_init(&message.header, WIRE_HELLO, size);
	message.hello.features = UINT64_MAX;
	message.hello.required = required;
	strcpy(message.hello.name, name);
	return message;
}

/* Sends it, and takes the answer into @ret, zero terminated. @return its size, 0 if the connection ends without one. */
static size_t greet(const struct instance *instance, const union greeting *message, union greeting *ret)
{
	ssize_t size = message->header.length;
	int fd = instance_connect(instance);

	test_check(send(fd, message, (size_t)size, MSG_NOSIGNAL) == size, "send: %s", strerror(errno));
	memset(ret, 0, sizeof(*ret));
	size = recv(fd, ret, sizeof(*ret) - 1, 0);
	close(fd);
	return size > 0 ? (size_t)size : 0;
}

/* @welcome_bytes: how long a WELCOME it takes. */
static void check_joins(const struct instance *instance, const char *name, size_t size, size_t welcome_bytes)
{
	union greeting message = greeting_of(name, size, WIRE_FEATURES), answer;
	size_t got = greet(instance, &message, &answer);

	test_check(got == welcome_bytes && answer.header.type == WIRE_WELCOME, "%s: %zu bytes of message %u come", name,
		   got, answer.header.type);
	test_check(instance_alive(instance), "%s: the daemon is gone", name);
}

static void check_refused(const struct instance *instance, const union greeting *message, const char *text)
{
	union greeting answer;
	size_t got = greet(instance, message, &answer);

	test_check(got > sizeof(answer.header) && answer.header.type == WIRE_ERROR, "%zu bytes of message %u come", got,
		   answer.header.type);
	test_check(strstr(answer.bytes + sizeof(answer.header), text) != NULL, "\"%s\" is said, and not \"%s\"",
		   answer.bytes + sizeof(answer.header), text);
}

static void check_releases(const struct instance *instance)
{
	static const size_t absurd[] = { sizeof(struct wire_header), WIRE_HELLO_LEAST - 8, WIRE_HELLO_LEAST + 4,
					 WIRE_GREETING_MAX + 8, WIRE_GREETING_MAX + 64 };
	union greeting message, answer;

	check_joins(instance, "older", WIRE_HELLO_LEAST, WIRE_WELCOME_LEAST);
	check_joins(instance, "this", sizeof(struct wire_hello), sizeof(struct wire_welcome));
	check_joins(instance, "newer", sizeof(struct wire_hello) + 8, sizeof(struct wire_welcome));
	check_joins(instance, "newest", WIRE_GREETING_MAX, sizeof(struct wire_welcome));
	message = greeting_of("wants", WIRE_GREETING_MAX, UINT64_C(1) << 61 | WIRE_FEATURES);
	check_refused(instance, &message, "VM wants needs feature \"61\"");
	message = greeting_of("asks", sizeof(struct wire_hello), 0);
	message.hello.mode = WIRE_MODE_END + 3;
	check_refused(instance, &message, "VM asks asks for mode");
	for (size_t i = 0; i < sizeof(absurd) / sizeof(*absurd); i++) {
		message = greeting_of("absurd", absurd[i], 0);
		test_check(greet(instance, &message, &answer) == 0, "a HELLO of %zu bytes is answered", absurd[i]);
		test_check(instance_alive(instance), "the daemon died of a HELLO of %zu bytes", absurd[i]);
	}
}

/* A message of a later release is not for a peer that has not said to have the feature, nor is a reason an error. */
static void check_unknown(const struct instance *instance)
{
	struct wire_refused refused = { .reason = WIRE_REASON_END + 5, .bytes = PAGE_BYTES };
	struct fake_link link;

	test_check(fake_link_open(&link, instance->socket, "says", WIRE_MODE_FULL, 0) == 0, "no welcome");
	wire_header_init(&refused.header, WIRE_REFUSED, sizeof(refused));
	test_check(wire_send(link.socket, &refused, sizeof(refused), NULL, 0) == 0, "send");
	fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 16);
	fake_link_post(&link, REPORT_READY, 1, 1, 0);
	instance_await(instance, "says", "ram_bytes", 16 * PAGE_BYTES);
	test_check(instance_vm(instance, "says", "connected") == 1, "a reason that is not known ends the connection");
	fake_link_close(&link);
}

int main(int argc, char **argv)
{
	struct instance instance;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	check_welcome(&instance);
	check_names(&instance);
	check_releases(&instance);
	check_unknown(&instance);
	instance_done(&instance);
	return 0;
}
