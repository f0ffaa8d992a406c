/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

static bool to_journal, debugging;

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t device, inode;
	struct stat st;

	if (stream == NULL || sscanf(stream, "%" SCNu64 ":%" SCNu64, &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(void)
{
	const char *debug = getenv("PAGEFUSE_DEBUG");

	to_journal = stderr_is_journal();
	debugging = debug && *debug;
}

static const char *priority_name(int priority)
{
	switch (priority) {
	case LOG_ERR:
		return "error: ";
	case LOG_WARNING:
		return "warning: ";
	case LOG_DEBUG:
		return "debug: ";
	default:
		return "";
	}
}

__attribute__((format(printf, 2, 0))) static void log_list(int priority, const char *format, va_list list)
{
	char line[1024];

	if (priority == LOG_DEBUG && !debugging)
		return;
	vsnprintf(line, sizeof(line), format, list);
	if (to_journal && sd_journal_send("MESSAGE=%s", line, "PRIORITY=%i", priority, NULL) == 0)
		return;
	fprintf(stderr, "pagefused: %s%s\n", priority_name(priority), line);
}

void log_message(int priority, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	log_list(priority, format, list);
	va_end(list);
}

/* So many lines within so many seconds. */
struct budget {
	unsigned burst, seconds;
	const char *what;
	time_t window;
	unsigned lines, suppressed;
};

/* @return whether @budget has a line left, which is then used; else the message is counted. */
static bool take_line(struct budget *budget)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - budget->window >= budget->seconds) {
		if (budget->suppressed > 0)
			log_warning("%u messages about %s were left out", budget->suppressed, budget->what);
		budget->window = now.tv_sec;
		budget->lines = budget->suppressed = 0;
	}
	if (budget->lines < budget->burst) {
		budget->lines++;
		return true;
	}
	budget->suppressed++;
	return false;
}

/*
 * User numbers are consecutive, and ranges of /etc/subuid are 65536 apart: neighbours of either kind get different
 * budgets.
 */
static unsigned hash(uid_t account)
{
	return (account + (account >> 16)) % LOG_PEER_USERS;
}

static struct budget *budget_of(uid_t account)
{
	static struct budget budgets[LOG_PEER_USERS + 1];
	struct budget *budget = &budgets[account == LOG_NOBODY ? LOG_PEER_USERS : hash(account)];

	budget->burst = LOG_PEER_BURST;
	budget->seconds = LOG_PEER_SECONDS;
	budget->what = "misbehaving connections";
	return budget;
}

void log_peer(uid_t account, int priority, const char *format, ...)
{
	va_list list;

	if (!take_line(budget_of(account)))
		return;
	va_start(list, format);
	log_list(priority, format, list);
	va_end(list);
}

void log_event(int priority, const char *format, ...)
{
	static struct budget budget = { LOG_EVENT_BURST, LOG_EVENT_SECONDS, .what = "what VMs did" };
	va_list list;

	if (!take_line(&budget))
		return;
	va_start(list, format);
	log_list(priority, format, list);
	va_end(list);
}
