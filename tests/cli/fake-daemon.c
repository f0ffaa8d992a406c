/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that answers as a file tells it to, for tests of the CLI.
 *
 * usage: fake-daemon [--private] --socket PATH
 *
 * $FAKE_SCRIPT names a JSON file: {"COMMAND": [REPLY, ...], "chunk": BYTES}. The replies to a command are used in
 * order, the last one again and again. A reply is a JSON value, or one of the strings "close", "garbage", "not-json",
 * "other-version", "other-type", "refuse". "chunk" is the size of the pieces that replies are sent in.
 * $FAKE_REQUESTS, if set, names a file to which each request is appended as one line.
 * $FAKE_PID, if set, names a file for the own pid. With $FAKE_START=fail it ends before it is ready.
 *
 * Once it listens it says READY=1 to $NOTIFY_SOCKET and "ready" on standard output. Killed by the test; it ends by
 * itself after half an hour.
 */
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/wire.h"

#define LIFETIME_SECONDS 1800
#define CLIENTS_MAX 8
#define COMMANDS_MAX 16

static json_t *script;
static struct {
	char name[32];
	size_t used; /* replies so far */
} commands[COMMANDS_MAX];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/** The next reply to @command; NULL if the script has none. */
static json_t *next_reply(const char *command)
{
	json_t *replies = json_object_get(script, command);
	size_t i = 0, count, use;

	if (replies == NULL && strcmp(command, "admit") == 0) /* of interest is only what goes wrong with it */
		replies = json_object_get(script, "status");
	count = json_array_size(replies);
	while (i < COMMANDS_MAX - 1 && commands[i].name[0] != '\0' && strcmp(commands[i].name, command) != 0)
		i++;
	snprintf(commands[i].name, sizeof(commands[i].name), "%s", command);
	use = commands[i].used++;
	return json_array_get(replies, use < count ? use : count - 1);
}

static void send_piece(int client, enum wire_type type, const char *text, size_t size, uint32_t flags)
{
	static union {
		struct wire_text text;
		char bytes[WIRE_MESSAGE_MAX];
	} message;

	wire_header_init(&message.text.header, type, sizeof(message.text) + size);
	message.text.header.flags = flags;
	memcpy(message.text.text, text, size);
	if (send(client, &message, sizeof(message.text) + size, MSG_NOSIGNAL) < 0)
		perror("send");
}

static void send_document(int client, const json_t *reply)
{
	size_t chunk = (size_t)json_integer_value(json_object_get(script, "chunk")), size;
	char *text = json_dumps(reply, JSON_COMPACT);

	if (text == NULL)
		die("json_dumps");
	if (chunk == 0)
		chunk = WIRE_MESSAGE_MAX - sizeof(struct wire_text);
	size = strlen(text);
	for (size_t at = 0; at < size; at += chunk)
		send_piece(client, WIRE_REPLY, text + at, size - at < chunk ? size - at : chunk,
			   size - at > chunk ? WIRE_MORE : 0);
	free(text);
}

/** Misbehaves as the script wants. @return whether the connection is to be closed. */
static bool misbehave(int client, const char *how)
{
	struct wire_header header;

	wire_header_init(&header, WIRE_REPLY, sizeof(header));
	if (strcmp(how, "close") == 0)
		return true;
	if (strcmp(how, "other-version") == 0) {
		header.version = WIRE_VERSION + 1;
		send(client, &header, sizeof(header), MSG_NOSIGNAL);
	} else if (strcmp(how, "not-json") == 0) {
		send_piece(client, WIRE_REPLY, "{nonsense", 9, 0);
	} else if (strcmp(how, "refuse") == 0) {
		send_piece(client, WIRE_ERROR, "it is full", 10, 0);
	} else if (strcmp(how, "other-type") == 0) {
		send_piece(client, WIRE_REQUEST, "{}", 2, 0);
	} else {
		send(client, "garbage", 7, MSG_NOSIGNAL);
	}
	return false;
}

static void note_request(const json_t *request)
{
	const char *path = getenv("FAKE_REQUESTS");
	FILE *file = path ? fopen(path, "a") : NULL;

	if (file == NULL)
		return;
	json_dumpf(request, file, JSON_COMPACT);
	fputc('\n', file);
	fclose(file);
}

/** @return false once the client is gone or to be dropped. */
static bool serve(int client)
{
	static union {
		struct wire_text text;
		char bytes[WIRE_MESSAGE_MAX];
	} message;
	json_t *request, *reply;
	size_t size;
	int fds[WIRE_FDS_MAX];

	if (wire_receive(client, message.bytes, sizeof(message), &size, fds) < 0)
		return false;
	request = json_loadb(message.text.text, size - sizeof(message.text), 0, NULL);
	note_request(request);
	reply = next_reply(json_string_value(json_object_get(request, "command")) ?: "none");
	json_decref(request);
	if (json_is_string(reply))
		return !misbehave(client, json_string_value(reply));
	if (reply != NULL)
		send_document(client, reply);
	return true;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		die(path);
	strcpy(address.sun_path, path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, CLIENTS_MAX) < 0)
		die(path);
	return fd;
}

static void say_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	puts("ready");
	fflush(stdout);
	if (path == NULL || strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, "STATUS=fake\nREADY=1", 19, 0, (struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		die(path);
	close(fd);
}

static void note_pid(void)
{
	const char *path = getenv("FAKE_PID");
	FILE *file = path ? fopen(path, "w") : NULL;

	if (file == NULL)
		return;
	fprintf(file, "%d\n", (int)getpid());
	fclose(file);
}

static void loop(int listener)
{
	struct pollfd fds[1 + CLIENTS_MAX] = { { .fd = listener, .events = POLLIN } };

	for (int i = 1; i <= CLIENTS_MAX; i++)
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	while (poll(fds, 1 + CLIENTS_MAX, -1) > 0) {
		for (int i = 1; i <= CLIENTS_MAX; i++) {
			if (fds[i].fd >= 0 && fds[i].revents != 0 && !serve(fds[i].fd)) {
				close(fds[i].fd);
				fds[i].fd = -1;
			}
		}
		if (fds[0].revents == 0)
			continue;
		for (int i = 1; i <= CLIENTS_MAX; i++) {
			if (fds[i].fd < 0) {
				fds[i].fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
				break;
			}
		}
	}
}

int main(int argc, char **argv)
{
	const char *path = getenv("FAKE_SCRIPT"), *start = getenv("FAKE_START");

	alarm(LIFETIME_SECONDS);
	if (argc < 3 || strcmp(argv[argc - 2], "--socket") != 0 || (argc == 4 && strcmp(argv[1], "--private") != 0) ||
	    argc > 4) {
		fprintf(stderr, "usage: fake-daemon [--private] --socket PATH\n");
		return 2;
	}
	if (start != NULL && strcmp(start, "fail") == 0) {
		fprintf(stderr, "told to fail\n");
		return 1;
	}
	script = path ? json_load_file(path, 0, NULL) : json_object();
	if (script == NULL)
		die("FAKE_SCRIPT");
	note_pid();
	int listener = listen_at(argv[argc - 1]);
	say_ready();
	loop(listener);
	return 0;
}
