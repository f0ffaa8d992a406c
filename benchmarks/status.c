/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a look at the status costs the daemon, with a thousand VMs: those of tests/daemon, which speak the protocol
 * without the library, and have shared what they can before it begins. Passes are switched off, so that nothing else
 * is done meanwhile.
 *
 *   status DAEMON [ROUNDS]
 *
 * Before that, what they cost with passes as they are by default, while nobody asks, writes or reads: rest_usec, CPU
 * time of all threads of the daemon in a second.
 *
 * Printed are medians and the least, name and value: of CPU time of the thread that has the event loop, of all threads
 * of the daemon, and of time by the clock until the asker has all of the document, which is not parsed. What the loop
 * does at all times is in there, a tick now and then: on a host that has much else to do in nearly each round. So by
 * turns with the rounds there are as long times in which nobody asks, and refresh_usec is what one more takes than the
 * other: it can be less than nothing in single rounds.
 */
#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "tests/daemon/crowd.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define ROUNDS 100u
#define ROUNDS_MAX 10000u
#define REST_SECONDS 10u

static struct instance instance;

static double now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* CPU time of one thread of the daemon. */
static double thread_usec(const char *thread)
{
	uint64_t nsec = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", (int)instance.pid, thread);
	file = fopen(path, "re");
	test_check(file && fscanf(file, "%" SCNu64, &nsec) == 1, "%s cannot be read", path);
	fclose(file);
	return (double)nsec / 1e3;
}

static double loop_usec(void)
{
	char thread[16];

	snprintf(thread, sizeof(thread), "%d", (int)instance.pid);
	return thread_usec(thread);
}

static double daemon_usec(void)
{
	const struct dirent *entry;
	double usec = 0;
	char path[64];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)instance.pid);
	threads = opendir(path);
	test_check(threads != NULL, "%s cannot be read", path);
	while (threads && (entry = readdir(threads)) != NULL)
		if (entry->d_name[0] != '.')
			usec += thread_usec(entry->d_name);
	if (threads)
		closedir(threads);
	return usec;
}

/* @return the document's bytes. */
static size_t look(int fd)
{
	static const char request[] = "{\"command\":\"status\"}";
	static _Alignas(8) char chunk[WIRE_MESSAGE_MAX];
	const struct wire_header *header = (const void *)chunk;
	size_t size = 0;
	ssize_t r;

	instance_send(fd, request, sizeof(request) - 1);
	do {
		r = recv(fd, chunk, sizeof(chunk), 0);
		test_check(r > (ssize_t)sizeof(*header) && header->type == WIRE_REPLY, "the daemon does not answer");
		size += (size_t)r - sizeof(*header);
	} while (header->flags & WIRE_MORE);
	return size;
}

static int compare(const void *a, const void *b)
{
	const double *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

static void report(const char *name, double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	printf("%s_usec %.0f\n%s_least_usec %.0f\n", name, values[(count - 1) / 2], name, values[0]);
}

static void wait_usec(double usec)
{
	const struct timespec time = { .tv_sec = (time_t)(usec / 1e6), .tv_nsec = (long)usec % 1000000 * 1000 };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void measure(unsigned rounds)
{
	static double loop[ROUNDS_MAX], all[ROUNDS_MAX], reply[ROUNDS_MAX], refresh[ROUNDS_MAX];
	int fd = instance_connect(&instance);

	printf("document_bytes %zu\n", look(fd));
	for (unsigned i = 0; i < rounds; i++) {
		double loop_began = loop_usec(), all_began = daemon_usec(), began = now_usec();

		look(fd);
		reply[i] = now_usec() - began;
		poll(NULL, 0, 1); /* the loop frees what it has sent */
		loop[i] = loop_usec() - loop_began;
		all[i] = daemon_usec() - all_began;
		loop_began = loop_usec();
		wait_usec(reply[i]);
		poll(NULL, 0, 1);
		refresh[i] = loop[i] - (loop_usec() - loop_began);
	}
	report("loop", loop, rounds);
	report("daemon", all, rounds);
	report("reply", reply, rounds);
	report("refresh", refresh, rounds);
	close(fd);
}

static void measure_rest(void)
{
	double began;

	poll(NULL, 0, 2000); /* what began with the VMs is over */
	began = daemon_usec();
	poll(NULL, 0, REST_SECONDS * 1000);
	printf("rest_usec %.0f\n", (daemon_usec() - began) / REST_SECONDS);
}

static void start_crowd(const char *settings)
{
	instance_init(&instance);
	instance_settings(&instance, settings);
	instance_start(&instance);
	crowd_start(&instance);
	instance_scan(&instance);
	crowd_await_shared();
}

static void stop_crowd(void)
{
	crowd_stop();
	instance_done(&instance);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS;

	if (argc < 2 || argc > 3 || rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: status DAEMON [ROUNDS]\n");
		return 2;
	}
	test_begin(argc, argv);
	test_check(setenv("PAGEFUSED", argv[1], 1) == 0, "no memory");
	start_crowd(CROWD_LIMITS);
	measure_rest();
	stop_crowd();
	start_crowd("[scan]\ninterval_seconds = 0\n" CROWD_LIMITS);
	measure((unsigned)rounds);
	stop_crowd();
	return 0;
}
