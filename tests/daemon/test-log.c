/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What others can cause at will has a bound in the log, and what is left out is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

#define TIMES (3 * LOG_EVENT_BURST)

/* Into a file instead of stderr. @return how many lines have the word. */
static unsigned lines_of(void (*say)(void), const char *word)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	char line[256];
	unsigned count = 0;

	assert_non_null(file);
	assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	say();
	fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rewind(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, word) != NULL;
	fclose(file);
	return count;
}

static void say_events(void)
{
	for (unsigned i = 0; i < TIMES; i++)
		log_event(LOG_INFO, "VM %u came", i);
}

static void say_errors_of_peers(void)
{
	for (unsigned i = 0; i < TIMES; i++)
		log_peer(20001, LOG_WARNING, "peer %u misbehaves", i);
}

static void say_one_of_each_other_user(void)
{
	for (unsigned i = 1; i < LOG_PEER_USERS; i++)
		log_peer(20001 + i, LOG_WARNING, "peer %u misbehaves", i);
}

/* Of those who have ranges of 65536 users; who has the first has said too much already. */
static void say_one_of_each_other_range(void)
{
	for (unsigned i = 1; i < LOG_PEER_USERS; i++)
		log_peer(20001 + i * 65536, LOG_WARNING, "peer %u misbehaves", i);
}

static void say_errors_of_all_users(void)
{
	for (unsigned i = 0; i < TIMES; i++)
		log_peer(i, LOG_WARNING, "peer %u misbehaves", i);
}

static void say_our_own(void)
{
	for (unsigned i = 0; i < TIMES; i++)
		log_info("own message %u", i);
}

/* One more window may begin meanwhile. */
static void test_bounds(void **state)
{
	(void)state;
	assert_in_range(lines_of(say_events, "came"), LOG_EVENT_BURST, 2 * LOG_EVENT_BURST);
	assert_in_range(lines_of(say_errors_of_peers, "misbehaves"), LOG_PEER_BURST, TIMES / 2);
	/* Whatever the first one does. */
	assert_int_equal(lines_of(say_one_of_each_other_user, "misbehaves"), LOG_PEER_USERS - 1);
	assert_int_equal(lines_of(say_one_of_each_other_range, "misbehaves"), LOG_PEER_USERS - 1);
	assert_in_range(lines_of(say_errors_of_all_users, "misbehaves"), 1, TIMES / 2);
	assert_int_equal(lines_of(say_our_own, "own message"), TIMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bounds) };

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
