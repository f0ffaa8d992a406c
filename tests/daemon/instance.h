/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pagefused of the test's own: on a socket in a temporary directory, started, ended or killed at will. */
#ifndef PAGEFUSE_TESTS_DAEMON_INSTANCE_H
#define PAGEFUSE_TESTS_DAEMON_INSTANCE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct instance {
	pid_t pid; /* 0: not running */
	char directory[80];
	char socket[96];
	char config[96]; /* written by instance_settings(); empty: no --config */
	bool private;    /* start it with --private */
	char log[96];    /* what it wrote to stderr, over all its lives */
};

/** Makes the directory. Nothing runs yet. If the test fails, daemon, mounts and directory go. One at a time. */
void instance_init(struct instance *instance);
/** Writes the settings file for the next start. Unless @text has a section [access], anybody may take part. */
void instance_settings(struct instance *instance, const char *text);
/** Starts it and waits until it listens. */
void instance_start(struct instance *instance);
/** For tests of the store that is mounted: makes and starts it, or skips the test where there is none. */
void instance_start_mounted(struct instance *instance);
/** SIGTERM; the exit code must be 0. */
void instance_stop(struct instance *instance);
/** SIGKILL. */
void instance_kill(struct instance *instance);
/** SIGTERM; waits only until it has begun to end: until its socket is gone. */
void instance_begin_stop(struct instance *instance);
/** Waits for the end of one that was signalled; the exit code must be 0. */
void instance_await_end(struct instance *instance);
/** Ends it if it runs and removes the directory. Fails the test if any mount or file of the daemon is left. */
void instance_done(struct instance *instance);

/** Whether it runs still. */
bool instance_alive(const struct instance *instance);
/** Whether its log has @text. */
bool instance_logged(const struct instance *instance, const char *text);

/** Connects. @return a blocking socket with a receive timeout; fails the test if there is no daemon. */
int instance_connect(const struct instance *instance);
/** Sends a request and returns the reply, which is the caller's. */
json_t *instance_ask(const struct instance *instance, const char *request);
/** The same as text over a connection that exists already. */
json_t *instance_ask_on(int socket, const char *request, size_t size);
/** The halves of it. */
void instance_send(int socket, const char *request, size_t size);
json_t *instance_receive(int socket);

/** host.@field of the status. */
long long instance_host(const struct instance *instance, const char *field);
/** daemon.@field of the status. */
long long instance_daemon(const struct instance *instance, const char *field);
/** vms[name].@field of the status, or -1 if there is no such VM. */
long long instance_vm(const struct instance *instance, const char *name, const char *field);

/**
 * Asks until host.@field, or @name's if that is not NULL, is @value; fails the test if it stays another one for too
 * long.
 */
void instance_await(const struct instance *instance, const char *name, const char *field, long long value);

/** Asks until @name has no connection, be it that nothing is known of it any more. */
void instance_await_disconnected(const struct instance *instance, const char *name);

/** A full pass over all VMs; returns when what it found is merged. */
void instance_scan(const struct instance *instance);

/** Lines of /proc/self/mounts with the instance's directory in them. */
unsigned instance_mounts(const struct instance *instance);

#endif
