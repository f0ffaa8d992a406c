/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagefuse-exporter: the status document for Prometheus, over HTTP or as a file for node_exporter. Needs no right but
 * to ask the daemon. libmicrohttpd's thread serves one request at a time; all state is that thread's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/exporter-places.h"
#include "cli/openmetrics.h"
#include "cli/write-file.h"
#include "common/socket-path.h"

#define LISTEN_DEFAULT "127.0.0.1:9879"
#define CONNECTIONS_MAX 32
#ifndef IDLE_SECONDS
#define IDLE_SECONDS 10 /* a connection that says nothing is closed; a test builds with more */
#endif
#define SLOW_MSEC 10000 /* a client that takes longer for its answer may lose its place */
/* Clients that ask more often get the same answer again: the daemon is asked at most once in this time. */
#define ANSWER_AGE_MSEC 500

struct exporter {
	struct cli cli;
	json_t *status; /* NULL: the daemon did not answer */
	uint64_t asked_msec;
	int error; /* what was complained about last; 0: it answered */
	struct places places;
};

static uint64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- asking ---- */

static int ask(const struct exporter *exporter, json_t **ret_status)
{
	json_t *request = json_pack("{s:s}", "command", "status");
	struct client *client = NULL;
	int r = request ? client_connect(exporter->cli.socket_path, &client) : -ENOMEM;

	if (r == 0) {
		r = client_request(client, request, ret_status);
		client_free(client);
	}
	json_decref(request);
	if (r == 0 && !json_is_object(json_object_get(*ret_status, "daemon"))) {
		r = json_object_get(*ret_status, "error") ? -ECONNABORTED : -EPROTO;
		json_decref(*ret_status);
		*ret_status = NULL;
	}
	return r;
}

/* A daemon that is away is complained about once, not at every scrape. */
static void refresh(struct exporter *exporter)
{
	json_t *status = NULL;
	int r = ask(exporter, &status);

	if (r < 0 && r != exporter->error)
		(void)client_failed(&exporter->cli, r);
	else if (r == 0 && exporter->error < 0)
		complain("%s: pagefused answers again", exporter->cli.socket_path);
	exporter->error = r;
	json_decref(exporter->status);
	exporter->status = status;
	exporter->asked_msec = now_msec();
}

/* @return what the daemon says, to be freed; NULL without memory. */
static char *make_text(struct exporter *exporter, enum openmetrics_format format, size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);
	bool failed;

	if (out == NULL)
		return NULL;
	openmetrics_write(out, format, exporter->status);
	failed = ferror(out);
	if (fclose(out) == 0 && !failed)
		return text;
	free(text);
	return NULL;
}

/* ---- HTTP ---- */

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned code, const char *type, char *text,
			     size_t size)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result reply_line(struct MHD_Connection *connection, unsigned code, const char *line)
{
	return reply(connection, code, "text/plain; charset=utf-8", (char *)line, strlen(line));
}

static enum MHD_Result reply_metrics(struct exporter *exporter, struct MHD_Connection *connection)
{
	const char *wanted = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	bool is_open = wanted && strstr(wanted, "application/openmetrics-text");
	enum openmetrics_format format = is_open ? OPENMETRICS_1 : OPENMETRICS_CLASSIC;
	enum MHD_Result result;
	size_t size;
	char *text;

	if (exporter->asked_msec == 0 || now_msec() - exporter->asked_msec >= ANSWER_AGE_MSEC)
		refresh(exporter);
	text = make_text(exporter, format, &size);
	if (text == NULL)
		return reply_line(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	result = reply(connection, MHD_HTTP_OK, openmetrics_content_type(format), text, size);
	free(text);
	return result;
}

/* ---- connected clients ---- */

static struct place *place_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection,
								       MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **place,
			  enum MHD_ConnectionNotificationCode code)
{
	struct exporter *exporter = user;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		places_leave(&exporter->places, *place);
		*place = NULL;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info)
		*place = places_take(&exporter->places, info->connect_fd, now_msec());
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	(void)user;
	(void)state;
	(void)code;
	place_answered(place_of(connection), now_msec());
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_size, void **state)
{
	static char begun;

	(void)version;
	(void)data;
	if (*state == NULL)
		place_asked(place_of(connection), now_msec());
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return reply_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only\n");
	if (*state == NULL) { /* the head has come; to be answered once all has */
		*state = &begun;
		return MHD_YES;
	}
	*data_size = 0;
	if (strcmp(url, "/metrics") == 0)
		return reply_metrics(user, connection);
	if (strcmp(url, "/") == 0)
		return reply_line(connection, MHD_HTTP_OK, "pagefuse-exporter: the metrics are at /metrics\n");
	return reply_line(connection, MHD_HTTP_NOT_FOUND, "the metrics are at /metrics\n");
}

/* "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT"; an address, not a name. */
static int look_up(const char *text, struct addrinfo **ret)
{
	static const struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	char address[INET6_ADDRSTRLEN + 2] = "127.0.0.1";
	size_t length = colon ? (size_t)(colon - text) : 0;
	unsigned long number;
	char *end;

	if (length >= sizeof(address))
		return -EINVAL;
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	} else if (memchr(text, ':', length)) {
		return -EINVAL; /* which of its colons is before the port? */
	}
	if (colon && length == 0)
		return -EINVAL;
	if (colon) {
		memcpy(address, text, length);
		address[length] = 0;
	}
	number = strtoul(port, &end, 10);
	if (port[0] < '0' || port[0] > '9' || *end != 0 || number > UINT16_MAX)
		return -EINVAL;
	return getaddrinfo(address, port, &hints, ret) == 0 ? 0 : -EINVAL;
}

static void print_where(struct MHD_Daemon *daemon, const struct addrinfo *place)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	char address[INET6_ADDRSTRLEN];

	if (getnameinfo(place->ai_addr, place->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
		strcpy(address, "?");
	printf(place->ai_family == AF_INET6 ? "http://[%s]:%u/metrics\n" : "http://%s:%u/metrics\n", address,
	       info ? info->port : 0);
}

static int serve(struct exporter *exporter, const char *listen)
{
	struct MHD_Daemon *daemon;
	struct addrinfo *place;
	unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD;
	sigset_t ends;
	int caught, r;

	if (look_up(listen, &place) < 0)
		return complain_usage("--listen '%s': not where to listen; give a port, ADDRESS:PORT or "
				      "[ADDRESS]:PORT, such as " LISTEN_DEFAULT,
				      listen);
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL); /* libmicrohttpd's thread inherits that */
	if (place->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	places_init(&exporter->places, CONNECTIONS_MAX, SLOW_MSEC);
	daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, exporter,
				  MHD_OPTION_SOCK_ADDR, place->ai_addr,
				  /*
				   * One more: for a client that comes when all places are taken, and has another one
				   * disconnected.
				   */
				  MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX + 1,
				  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
				  MHD_OPTION_NOTIFY_CONNECTION, on_connection, exporter,
				  MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				  MHD_OPTION_END);
	if (daemon == NULL) {
		complain("cannot listen on %s: %s; choose another with --listen", listen, strerror(errno));
		freeaddrinfo(place);
		return CLI_FAILED;
	}
	print_where(daemon, place);
	freeaddrinfo(place);
	r = cli_finish_output();
	while (r == CLI_DONE && sigwait(&ends, &caught) != 0)
		;
	MHD_stop_daemon(daemon);
	return r;
}

/* ---- a file ---- */

static int write_once(struct exporter *exporter, const char *path)
{
	size_t size;
	char *text;
	int r = 0;

	refresh(exporter);
	text = make_text(exporter, OPENMETRICS_CLASSIC, &size);
	if (text == NULL) {
		complain("out of memory while making %s; free some", path);
		return CLI_FAILED;
	}
	if (strcmp(path, "-") == 0)
		fwrite(text, 1, size, stdout);
	else
		r = write_file(path, text, size, 0644); /* node_exporter is another user */
	free(text);
	if (r < 0) {
		complain("cannot write %s: %s; name a file in a folder where this user may make files", path,
			 strerror(-r));
		return CLI_FAILED;
	}
	r = cli_finish_output();
	return r == CLI_DONE && exporter->error < 0 ? CLI_NO_DAEMON : r;
}

/* ---- the command line ---- */

static int help(void)
{
	printf("Usage: pagefuse-exporter [--listen ADDRESS:PORT | --textfile FILE] [--socket PATH]\n\n"
	       "Tells Prometheus what pagefused shares.\n\nOptions:\n"
	       "  --listen ADDRESS:PORT  serve /metrics there; default: " LISTEN_DEFAULT "\n"
	       "  --textfile FILE        write FILE once, for node_exporter's textfile collector; -: standard output\n"
	       "  --socket PATH          of the daemon; default: $PAGEFUSE_SOCKET or the user's own place\n"
	       "  --version              show the version\n"
	       "  --help                 show this\n");
	return cli_finish_output();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		{ "listen", required_argument, NULL, 'l' },
		{ "textfile", required_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	static struct exporter exporter;
	const char *listen = NULL, *textfile = NULL;
	int option, r;

	if (socket_path_default(exporter.cli.socket_path, sizeof(exporter.cli.socket_path)) < 0)
		return complain_usage("$PAGEFUSE_SOCKET is too long for a socket's path; choose a shorter one");
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case 'S':
			if (!cli_set_socket(&exporter.cli, optarg))
				return CLI_USAGE;
			break;
		case 'l':
			listen = optarg;
			break;
		case 't':
			textfile = optarg;
			break;
		case 'h':
			return help();
		case 'V':
			printf("pagefuse-exporter %s\n", PAGEFUSE_VERSION);
			return cli_finish_output();
		case ':':
			return complain_usage("'%s' needs a value; see `pagefuse-exporter --help`", argv[optind - 1]);
		default:
			return complain_usage("'%s' is no option of pagefuse-exporter; see its --help",
					      argv[optind - 1]);
		}
	}
	if (optind < argc)
		return complain_usage("'%s': pagefuse-exporter takes no argument; see its --help", argv[optind]);
	if (listen && textfile)
		return complain_usage("--listen and --textfile: one of them; run it twice for both");
	r = textfile ? write_once(&exporter, textfile) : serve(&exporter, listen ? listen : LISTEN_DEFAULT);
	json_decref(exporter.status);
	return r;
}
