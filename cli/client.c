/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/document.h"
#include "common/socket-path.h"
#include "protocol/wire.h"

struct client {
	int socket;
	union {
		struct wire_header header;
		char bytes[WIRE_MESSAGE_MAX];
	} message;   /* being sent or received */
	char *reply; /* collected so far */
	size_t reply_bytes;
	char refusal[256]; /* why the daemon does not serve us, in its words */
};

int client_connect(const char *socket_path, struct client **ret_client)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct client *client;
	int r;

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, socket_path);
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return -ENOMEM;
	client->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->socket < 0 || connect(client->socket, (struct sockaddr *)&address, sizeof(address)) < 0)
		r = -errno;
	else
		r = socket_path_check_peer(socket_path, client->socket);
	if (r == -EACCES && socket_path_is_in_tmp(socket_path))
		r = -EPERM; /* who is kept from what should be his own meets somebody else */
	if (r < 0) {
		client_free(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void client_peer(const struct client *client, struct ucred *ret_peer)
{
	socklen_t size = sizeof(*ret_peer);

	if (getsockopt(client->socket, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0)
		*ret_peer = (struct ucred){ .uid = (uid_t)-1 };
}

void client_free(struct client *client)
{
	if (client == NULL)
		return;
	if (client->socket >= 0)
		close(client->socket);
	free(client->reply);
	free(client);
}

static int64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int wait_for(struct client *client, short events, int64_t deadline_msec)
{
	struct pollfd pollfd = { .fd = client->socket, .events = events };
	int r;

	do {
		int64_t left = deadline_msec - now_msec();

		r = poll(&pollfd, 1, left > 0 ? (int)left : 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

static int send_request(struct client *client, const json_t *request, int64_t deadline_msec)
{
	struct wire_text *text = (struct wire_text *)client->message.bytes;
	size_t room = sizeof(client->message) - sizeof(*text);
	size_t length = json_dumpb(request, text->text, room, JSON_COMPACT);
	int r;

	if (length == 0)
		return -ENOMEM;
	if (length > room)
		return -E2BIG;
	wire_header_init(&text->header, WIRE_REQUEST, sizeof(*text) + length);
	while ((r = wire_send(client->socket, text, text->header.length, NULL, 0)) == -EAGAIN) {
		r = wait_for(client, POLLOUT, deadline_msec);
		if (r < 0)
			return r;
	}
	return r;
}

static int receive_message(struct client *client, size_t *ret_size)
{
	int fds[WIRE_FDS_MAX];
	int r = wire_receive(client->socket, client->message.bytes, sizeof(client->message), ret_size, fds);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < WIRE_FDS_MAX; i++) /* none belong into a reply */
		if (fds[i] >= 0)
			close(fds[i]);
	return 0;
}

static int append_reply(struct client *client, const char *text, size_t length)
{
	char *grown;

	if (length > CLIENT_REPLY_BYTES_MAX - client->reply_bytes)
		return -EPROTO;
	grown = realloc(client->reply, client->reply_bytes + length + 1);
	if (grown == NULL)
		return -ENOMEM;
	memcpy(grown + client->reply_bytes, text, length);
	client->reply = grown;
	client->reply_bytes += length;
	return 0;
}

static int take_refusal(struct client *client, const char *text, size_t length)
{
	snprintf(client->refusal, sizeof(client->refusal), "%.*s", (int)length, text);
	return -ECONNABORTED;
}

/** @return 0 once all of it is there; -EAGAIN. */
static int receive_reply(struct client *client)
{
	const struct wire_text *text = (const struct wire_text *)client->message.bytes;
	size_t size;
	int r;

	do {
		r = receive_message(client, &size);
		if (r < 0)
			return r;
		if (text->header.type == WIRE_ERROR)
			return take_refusal(client, text->text, size - sizeof(*text));
		if (text->header.type != WIRE_REPLY)
			return -EPROTO;
		r = append_reply(client, text->text, size - sizeof(*text));
		if (r < 0)
			return r;
	} while ((text->header.flags & WIRE_MORE) != 0);
	return 0;
}

static int begin(struct client *client, const json_t *request, int64_t deadline_msec)
{
	client->reply_bytes = 0;
	return send_request(client, request, deadline_msec);
}

int client_begin(struct client *client, const json_t *request)
{
	return begin(client, request, now_msec() + CLIENT_DEADLINE_SECONDS * INT64_C(1000));
}

int client_end(struct client *client, json_t **ret_reply)
{
	int r = receive_reply(client);
	json_t *reply;

	if (r < 0)
		return r;
	reply = json_loadb(client->reply, client->reply_bytes, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(reply)) {
		json_decref(reply);
		return -EPROTO;
	}
	*ret_reply = reply;
	return 0;
}

int client_fd(const struct client *client)
{
	return client->socket;
}

int client_request(struct client *client, const json_t *request, json_t **ret_reply)
{
	int64_t deadline_msec = now_msec() + CLIENT_DEADLINE_SECONDS * INT64_C(1000);
	int r = begin(client, request, deadline_msec);

	if (r < 0)
		return r;
	while ((r = client_end(client, ret_reply)) == -EAGAIN) {
		r = wait_for(client, POLLIN, deadline_msec);
		if (r < 0)
			return r;
	}
	return r;
}

const char *client_refusal(const struct client *client)
{
	return client->refusal;
}

int client_wait(struct client *client, unsigned msec)
{
	int r = wait_for(client, POLLIN, now_msec() + msec);

	if (r == -ETIMEDOUT)
		return 0;
	return r < 0 ? r : -ECONNRESET; /* the daemon says nothing unasked but goodbye */
}

int client_failed(const struct cli *cli, int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		complain("%s: no pagefused answers there; start it (`systemctl start pagefused`), let `pagefuse run` "
			 "start one, or name another socket with --socket",
			 cli->socket_path);
		return CLI_NO_DAEMON;
	case -ECONNRESET:
	case -EPIPE:
		complain("%s: pagefused has closed the connection; its log says why "
			 "(`journalctl -u pagefused`, or %s.log)",
			 cli->socket_path, cli->socket_path);
		return CLI_NO_DAEMON;
	case -EPERM:
		complain("%s: what answers there is another user's; set XDG_RUNTIME_DIR to a directory of your own, or "
			 "name a socket with --socket",
			 cli->socket_path);
		return CLI_FAILED;
	case -ECONNABORTED:
		complain("%s: pagefused refuses to serve this; its log says why (`journalctl -u pagefused`, or %s.log)",
			 cli->socket_path, cli->socket_path);
		return CLI_FAILED;
	case -EACCES:
		complain("%s: no permission to connect; run this as root, as the user that pagefused runs as, or as a "
			 "member of the socket's group",
			 cli->socket_path);
		return CLI_FAILED;
	case -ETIMEDOUT:
		complain("%s: pagefused has not answered within %d seconds; its log may say why "
			 "(`journalctl -u pagefused`, or %s.log)",
			 cli->socket_path, CLIENT_DEADLINE_SECONDS, cli->socket_path);
		return CLI_FAILED;
	case -EPROTO:
	case -EPROTONOSUPPORT:
		complain("%s: what answers there does not speak this protocol; use the pagefused of version %s",
			 cli->socket_path, PAGEFUSE_VERSION);
		return CLI_FAILED;
	case -E2BIG:
		complain("too many names for one request; give fewer, or none for all VMs");
		return CLI_FAILED;
	case -EPROTOTYPE:
	case -ENOTSOCK:
		complain("%s: that is not pagefused's socket; name the right one with --socket", cli->socket_path);
		return CLI_FAILED;
	default:
		complain("%s: %s; `pagefuse doctor` may know more", cli->socket_path, strerror(-error));
		return CLI_FAILED;
	}
}

int client_open(const struct cli *cli, struct client **ret_client)
{
	int r = client_connect(cli->socket_path, ret_client);

	return r < 0 ? client_failed(cli, r) : CLI_DONE;
}

/** A request that the daemon refused: its code gives the way out. */
static int complain_refused(const json_t *error)
{
	const char *code = field_text(error, "code"), *value = field_text(error, "value");
	const char *message = field_text(error, "message");

	if (strcmp(code, "unknown-vm") == 0)
		complain("'%s' is no VM that pagefused knows; `pagefuse list` shows their names", value);
	else if (strcmp(code, "not-permitted") == 0)
		complain("'%s': not permitted: the VM belongs to another user; run this as root or as its owner",
			 value);
	else if (strcmp(code, "unknown-command") == 0)
		complain("pagefused does not know '%s'; use the pagefused of version %s", value, PAGEFUSE_VERSION);
	else if (strcmp(code, "no-memory") == 0)
		complain("pagefused is out of memory; see `pagefuse status` and free some on the host");
	else
		complain("pagefused refuses: %s (%s)", message[0] != '\0' ? message : "it does not say why", code);
	return CLI_FAILED;
}

/** @r: what became of the request. */
static int take_reply(const struct cli *cli, int r, json_t *reply, json_t **ret_reply)
{
	const json_t *error;

	if (r < 0)
		return client_failed(cli, r);
	error = json_object_get(reply, "error");
	if (error != NULL) {
		r = complain_refused(error);
		json_decref(reply);
		return r;
	}
	*ret_reply = reply;
	return CLI_DONE;
}

int client_call(const struct cli *cli, struct client *client, json_t *request, json_t **ret_reply)
{
	json_t *reply = NULL;
	int r = request ? client_request(client, request, &reply) : -ENOMEM;

	json_decref(request);
	return take_reply(cli, r, reply, ret_reply);
}

/** Takes @status over. */
static int take_status(const struct cli *cli, json_t *status, json_t **ret_status)
{
	if (!json_is_object(json_object_get(status, "daemon")) || !json_is_object(json_object_get(status, "host")) ||
	    !json_is_array(json_object_get(status, "vms"))) {
		json_decref(status);
		return client_failed(cli, -EPROTO);
	}
	*ret_status = status;
	return CLI_DONE;
}

static json_t *status_request(void)
{
	return json_pack("{s:s}", "command", "status");
}

int client_status(const struct cli *cli, struct client *client, json_t **ret_status)
{
	json_t *status = NULL;
	int r = client_call(cli, client, status_request(), &status);

	return r == CLI_DONE ? take_status(cli, status, ret_status) : r;
}

int client_status_begin(const struct cli *cli, struct client *client)
{
	json_t *request = status_request();
	int r = request ? client_begin(client, request) : -ENOMEM;

	json_decref(request);
	return r < 0 ? client_failed(cli, r) : CLI_DONE;
}

int client_status_end(const struct cli *cli, struct client *client, json_t **ret_status)
{
	json_t *status = NULL;
	int r = client_end(client, &status);

	if (r == -EAGAIN)
		return r;
	r = take_reply(cli, r, status, &status);
	return r == CLI_DONE ? take_status(cli, status, ret_status) : r;
}
