/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The listening socket. Its mode keeps out users without any right; what the others may do is checked when they ask. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/session.h"

#define ACCEPTS_PER_TURN 8
#define ACCEPT_TURNS_PER_SECOND 2000

static void accept_some(struct daemon *daemon, int fd)
{
	int socket, r;

	for (unsigned n = 0; n < ACCEPTS_PER_TURN; n++) {
		socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (socket < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				log_peer(LOG_NOBODY, LOG_ERR, "cannot accept a connection: %s", strerror(errno));
			return;
		}
		r = session_new(&daemon->sessions, socket);
		if (r < 0 && r != -ESRCH)
			log_peer(LOG_NOBODY, LOG_ERR, "cannot serve a connection: %s", strerror(-r));
	}
}

/* Connections that were accepted have a turn before more are. */
static int on_connection(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct daemon *daemon = user;

	(void)events;
	fair_begin(&daemon->fair, source);
	accept_some(daemon, fd);
	fair_end(&daemon->fair, &daemon->accepting);
	fair_place(&daemon->fair, &daemon->accepting, source);
	return 0;
}

/* @return 1 if a daemon answers there, 0 if none does, -errno. */
static int somebody_answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 1;
	close(fd);
	if (r == -ECONNREFUSED || r == -ENOENT)
		return 0;
	return r == -EAGAIN ? 1 : r; /* EAGAIN: its queue of connections is full */
}

static int remove_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int r;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		log_error("%s is there already and is no socket; name another place with --socket", address->sun_path);
		return -EEXIST;
	}
	r = somebody_answers(address);
	if (r == 1) {
		log_error("another daemon answers on %s; end it first, or name another place with --socket",
			  address->sun_path);
		return -EADDRINUSE;
	}
	if (r < 0) {
		log_error("cannot find out whether a daemon answers on %s: %s", address->sun_path, strerror(-r));
		return r;
	}
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int start_listening(struct daemon *daemon, int fd, const struct sockaddr_un *address)
{
	gid_t group;
	mode_t mode = access_socket_mode(&daemon->access, &group);

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	/* Nobody can connect before listen(). */
	if ((group != (gid_t)-1 && chown(address->sun_path, (uid_t)-1, group) < 0) ||
	    chmod(address->sun_path, mode) < 0) {
		int r = -errno;

		unlink(address->sun_path);
		return r;
	}
	/* From here on the name belongs to this daemon, and a client that finds it finds the agents' socket, too. */
	agents_listen(&daemon->agents, daemon->socket_path, &daemon->access);
	if (listen(fd, SOMAXCONN) < 0) {
		int r = -errno;

		unlink(address->sun_path);
		agents_end(&daemon->agents);
		return r;
	}
	return 0;
}

int daemon_listen(struct daemon *daemon)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, r;

	memcpy(address.sun_path, daemon->socket_path, sizeof(address.sun_path));
	r = remove_stale(&address);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 ? -errno : start_listening(daemon, fd, &address);
	if (r < 0) {
		log_error("cannot listen on %s: %s; name another place with --socket", daemon->socket_path,
			  strerror(-r));
		if (fd >= 0)
			close(fd);
		return r;
	}
	r = sd_event_add_io(daemon->event, &daemon->listener, fd, EPOLLIN, on_connection, daemon);
	if (r >= 0)
		r = sd_event_source_set_io_fd_own(daemon->listener, true);
	if (r >= 0) /* without free descriptors the connection stays in the queue and would wake the loop endlessly */
		r = sd_event_source_set_ratelimit(daemon->listener, 1000000, ACCEPT_TURNS_PER_SECOND);
	if (r < 0) {
		log_error("cannot wait for connections: %s", strerror(-r));
		unlink(daemon->socket_path);
		return r;
	}
	return 0;
}
