/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line per message: to the journal if stderr is connected to it, else to stderr. */
#ifndef PAGEFUSE_DAEMON_LOG_H
#define PAGEFUSE_DAEMON_LOG_H

#include <sys/types.h>
#include <syslog.h>

/** Finds out where messages go. Until then they go to stderr. */
void log_open(void);

/** @priority: LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO or LOG_DEBUG; DEBUG only with $PAGEFUSE_DEBUG set. */
void log_message(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * For what a peer can cause at will: at most LOG_PEER_BURST lines per LOG_PEER_SECONDS of a user; the rest is counted.
 * @account: the user number that it is accounted under, see subuids.h. There are LOG_PEER_USERS such budgets, and a
 * user's is chosen by a hash of that number: so the total is bounded, too.
 */
void log_peer(uid_t account, int priority, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define LOG_NOBODY ((uid_t)-1) /* if it is not known who has caused it */
#define LOG_PEER_USERS 64
#define LOG_PEER_BURST 50
#define LOG_PEER_SECONDS 10

/**
 * The same for ordinary events that users may cause as often as they like: a thousand VMs may start at once, but a user
 * who connects without end pushes nothing else out of the journal.
 */
void log_event(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define LOG_EVENT_BURST 4000
#define LOG_EVENT_SECONDS 60

#define log_error(...) log_message(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_message(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)

#endif
