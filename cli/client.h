/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CLI's end of the daemon's socket; docs/design/control.md has the protocol. One thread. */
#ifndef PAGEFUSE_CLI_CLIENT_H
#define PAGEFUSE_CLI_CLIENT_H

#include <jansson.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cli/cli.h"

/** How long the daemon may take for an answer before it counts as hung. */
#define CLIENT_DEADLINE_SECONDS 10
/** Longest reply that is read, bytes. */
#define CLIENT_REPLY_BYTES_MAX (UINT32_C(64) << 20)

struct client;

/** Connects. @return 0; -ENOENT or -ECONNREFUSED: no daemon; -EACCES; -EPERM: not to be believed; -errno. */
int client_connect(const char *socket_path, struct client **ret_client);
void client_free(struct client *client);
/** Who made the daemon's socket, as far as this process can see him: pid 0 is in another pid namespace. */
void client_peer(const struct client *client, struct ucred *ret_peer);

/**
 * Sends one request and reads the whole reply, whatever it says. @request stays the caller's, *ret_reply becomes it.
 * @return 0; -ETIMEDOUT, -ECONNRESET, -E2BIG (request too long), -EPROTO (no sense in the reply), -EPROTONOSUPPORT
 * (daemon of another version), -ECONNABORTED (it refuses to serve us, see client_refusal()), -ENOMEM, -errno.
 */
int client_request(struct client *client, const json_t *request, json_t **ret_reply);
/**
 * The two halves of it, for callers that wait for other things, too. client_begin() may wait for room in the socket
 * only, client_end() for nothing: -EAGAIN means that client_fd() has to be readable before the next call.
 */
int client_begin(struct client *client, const json_t *request);
int client_end(struct client *client, json_t **ret_reply);
int client_fd(const struct client *client);
/** The daemon's message, unchanged. */
const char *client_refusal(const struct client *client);

/** Sleeps for @msec, or until the daemon closes the connection. @return 0, -ECONNRESET. */
int client_wait(struct client *client, unsigned msec);

/* ---- the same for commands: these complain, and return enum cli_exit ---- */

int client_open(const struct cli *cli, struct client **ret_client);
/** Takes @request over. An error in the reply is complained about, too. */
int client_call(const struct cli *cli, struct client *client, json_t *request, json_t **ret_reply);
/** Asks for the status document and checks that daemon, host and vms are there. */
int client_status(const struct cli *cli, struct client *client, json_t **ret_status);
/** Its two halves; the second returns -EAGAIN as well. */
int client_status_begin(const struct cli *cli, struct client *client);
int client_status_end(const struct cli *cli, struct client *client, json_t **ret_status);
/** Complains about a lost connection and the like. */
int client_failed(const struct cli *cli, int error);

#endif
