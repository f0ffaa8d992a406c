/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that does not come to an end with what modifyvm has said: the daemon serves everybody else meanwhile, and
 * only who said it waits, until it is written or cannot be. What is said later comes later; and whenever the daemon
 * dies, the file is what it was before a write or after it. With "control" the daemon waits, and serves nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define MOMENT_MSEC 1000 /* of a daemon that is to say nothing */

static struct instance instance;
static char file[128], fifo[128];

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "(none)";
}

/* @return the connection. */
static int say(const char *name, const char *mode)
{
	int fd = instance_connect(&instance);
	char request[128];
	int length = snprintf(request, sizeof(request),
			      "{\"command\":\"modify\",\"name\":\"%s\",\"mode\":\"%s\"}", name, mode);

	instance_send(fd, request, (size_t)length);
	return fd;
}

/* @problem: a part of it, or empty. */
static void expect_reply(int fd, const char *problem)
{
	json_t *reply = instance_receive(fd);
	const char *said = text(reply, "problem");

	test_check(json_object_get(reply, "error") == NULL, "refused: %s",
		   text(json_object_get(reply, "error"), "message"));
	test_check(*problem ? strstr(said, problem) != NULL : *said == 0, "the problem is \"%s\", not \"%s\"", said,
		   problem);
	test_check(json_is_true(json_object_get(reply, "kept")) == (*problem == 0), "kept is wrong");
	json_decref(reply);
	close(fd);
}

static bool is_silent(int fd, int msec)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, msec) == 0;
}

static void make_fifo(void)
{
	test_check(mkfifo(fifo, 0600) == 0, "%s: %s", fifo, strerror(errno));
}

/* Returns when the daemon waits for the disk; the next time it finds another FIFO. */
static int await_disk(void)
{
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);

	test_check(fd >= 0, "%s: %s", fifo, strerror(errno));
	(void)unlink(fifo);
	make_fifo();
	return fd;
}

static void end_wait(int disk, unsigned char error)
{
	test_check(write(disk, &error, 1) == 1, "%s: %s", fifo, strerror(errno));
	close(disk);
}

/* @return the mode that @document keeps for @name. */
static const char *mode_of(const json_t *document, const char *name)
{
	static char mode[16];
	const json_t *vm;
	size_t i;

	strcpy(mode, "(none)");
	json_array_foreach(json_object_get(document, "vms"), i, vm)
		if (strcmp(text(vm, "name"), name) == 0)
			snprintf(mode, sizeof(mode), "%s", text(vm, "mode"));
	return mode;
}

/* In the file, as a reader finds it; and it is whole. */
static void expect_file(const char *name, const char *mode)
{
	json_t *document = json_load_file(file, 0, NULL);

	test_check(document != NULL || access(file, F_OK) < 0, "%s is not whole", file);
	test_check(strcmp(mode_of(document, name), mode) == 0, "%s has mode %s in the file, not %s", name,
		   mode_of(document, name), mode);
	json_decref(document);
}

/* In the daemon, which was told so or is being told just now. */
static void await_counts(const char *name, const char *mode)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	bool counts = false;

	while (!counts) {
		json_t *reply = instance_ask(&instance, "{\"command\":\"kept\"}");

		counts = strcmp(mode_of(reply, name), mode) == 0;
		test_check(counts || test_patient_msec() < last, "%s has mode %s, not %s", name, mode_of(reply, name),
			   mode);
		json_decref(reply);
	}
}

static void check_served(void)
{
	int first = say("a", "off"), disk = await_disk(), second, third;

	await_counts("a", "off"); /* at once */
	second = say("b", "zero");
	third = say("a", "hints");
	close(say("c", "off"));     /* who does not wait for it */
	await_counts("a", "hints"); /* and so does what is said meanwhile */
	await_counts("b", "zero");
	await_counts("c", "off");
	test_check(is_silent(first, 0) && is_silent(second, 0) && is_silent(third, 0),
		   "it is answered before it is written");
	expect_file("a", "(none)");
	end_wait(disk, 0);
	expect_reply(first, "");
	disk = await_disk();
	test_check(is_silent(second, 0) && is_silent(third, 0), "the first write counts for what was said later");
	expect_file("a", "off");
	expect_file("b", "(none)");
	end_wait(disk, 0);
	expect_reply(second, "");
	expect_reply(third, "");
	expect_file("a", "hints");
	expect_file("b", "zero");
	expect_file("c", "off");
}

/* A write that fails is told to those whom it was for, and leaves the file as it was; the next one has all. */
static void check_error(void)
{
	int fd = say("d", "off");

	end_wait(await_disk(), ENOSPC);
	expect_reply(fd, strerror(ENOSPC));
	expect_file("d", "(none)");
	expect_file("a", "hints");
	fd = say("e", "off");
	end_wait(await_disk(), 0);
	expect_reply(fd, "");
	expect_file("d", "off");
	expect_file("e", "off");
}

/* Read anew while it is being written: after that. */
static void check_reload(void)
{
	int fd = say("f", "off"), disk = await_disk();

	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	while (!instance_logged(&instance, "they are what they were"))
		poll(NULL, 0, 10);
	await_counts("f", "off");
	end_wait(disk, 0);
	expect_reply(fd, "");
	await_counts("f", "off");
	await_counts("a", "hints");
}

/* One that is killed over a write leaves the file of before; one that ends waits for what is being written. */
static void check_ends(void)
{
	int fd = say("a", "full"), disk = await_disk();

	instance_kill(&instance);
	close(fd);
	close(disk);
	expect_file("a", "hints");
	instance_start(&instance);
	fd = say("g", "off");
	disk = await_disk();
	close(say("a", "zero"));
	await_counts("a", "zero");
	instance_begin_stop(&instance);
	end_wait(disk, 0);
	end_wait(await_disk(), 0);
	instance_await_end(&instance);
	close(fd);
	expect_file("g", "off");
	expect_file("a", "zero");
}

/* What a daemon does that waits. */
static void check_control(void)
{
	static const char request[] = "{\"command\":\"kept\"}";
	int first = say("a", "off"), disk = await_disk(), second = instance_connect(&instance);

	instance_send(second, request, sizeof(request) - 1);
	test_check(is_silent(second, MOMENT_MSEC), "others are served although the daemon waits for the disk");
	end_wait(disk, 0);
	expect_reply(first, "");
	json_decref(instance_receive(second));
	close(second);
	instance_stop(&instance);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	snprintf(file, sizeof(file), "%s.vms.json", instance.socket);
	snprintf(fifo, sizeof(fifo), "%s/fifo", instance.directory);
	make_fifo();
	test_check(setenv("PAGEFUSE_TEST_FIFO", fifo, 1) == 0, "no memory");
	instance_start(&instance);
	if (argc > 1 && strcmp(argv[1], "control") == 0) {
		check_control();
	} else {
		check_served();
		check_error();
		check_reload();
		check_ends();
	}
	(void)unlink(fifo);
	instance_done(&instance);
	return 0;
}
