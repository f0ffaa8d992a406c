/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who has many connections has no more of the loop's time than who has one, if his waits are placed by his share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "daemon/clock.h"
#include "daemon/fair.h"
#include "daemon/turn.h"

#define CONNECTIONS 9u /* all but the last are one user's */
#define TURNS 270u
#define TURN_USEC 20u

struct connection {
	sd_event_source *source;
	struct fair_user *user;
};

static struct fair fair;
static sd_event *event;
static struct connection connections[CONNECTIONS];
static bool placing;
static unsigned turns, alone_turns;

static int on_turn(sd_event_source *source, void *context)
{
	struct connection *connection = context;

	fair_begin(&fair, source);
	while (turn_cpu_usec() < TURN_USEC)
		;
	fair_end(&fair, &connection->user->share);
	if (placing)
		fair_place(&fair, &connection->user->share, source);
	alone_turns += connection == &connections[CONNECTIONS - 1];
	if (++turns == TURNS)
		return sd_event_exit(event, 0);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void run(bool with_places)
{
	placing = with_places;
	turns = alone_turns = 0;
	assert_true(sd_event_new(&event) >= 0);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &connections[i];

		connection->user = fair_user_get(&fair, i < CONNECTIONS - 1 ? 1000 : 1001);
		assert_non_null(connection->user);
		assert_true(sd_event_add_defer(event, &connection->source, on_turn, connection) >= 0);
	}
	assert_int_equal(turn_loop(event), 0);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		sd_event_source_disable_unref(connections[i].source);
		fair_user_put(connections[i].user);
	}
	event = sd_event_unref(event);
	assert_true(LIST_EMPTY(&fair.users));
}

/* By turns of about equal length. */
static void test_shares(void **state)
{
	(void)state;
	run(true);
	assert_in_range(alone_turns, TURNS / 3, TURNS * 2 / 3);
}

/* Else those that were made first have all of it: sd-event does not queue what is deferred anew behind who waits. */
static void test_without_places(void **state)
{
	(void)state;
	run(false);
	assert_true(alone_turns < TURNS / 6);
}

static int64_t place_of(const struct fair_share *share, sd_event_source *source)
{
	int64_t place;

	fair_place(&fair, share, source);
	assert_true(sd_event_source_get_priority(source, &place) >= 0);
	assert_true(place >= 0); /* timers and signals go before all */
	return place;
}

/* What was not used is saved up to a bound: who comes back goes before others for so long, and is one of them then. */
static void test_comes_back(void **state)
{
	struct fair_share busy = { .had_usec = 10 * FAIR_SAVED_USEC }, back = { .had_usec = 10, .saves = true };
	const struct fair_share engine = { .had_usec = 10 };
	unsigned before = 0;
	sd_event_source *source;

	(void)state;
	assert_true(sd_event_new(&event) >= 0);
	assert_true(sd_event_add_defer(event, &source, on_turn, NULL) >= 0);
	fair = (struct fair){ 0 };
	(void)place_of(&busy, source);
	fair_begin(&fair, source);
	assert_int_equal(fair.now_usec, busy.had_usec);
	assert_int_equal(place_of(&engine, source), place_of(&busy, source)); /* which is no user's */
	for (; place_of(&back, source) < place_of(&busy, source); before++)
		fair_charge(&fair, &back, FAIR_SAVED_USEC / 100 - 1);
	assert_int_equal(before, 100);
	assert_int_equal(fair.now_usec, busy.had_usec); /* nobody's time has gone on by that */
	sd_event_source_disable_unref(source);
	event = sd_event_unref(event);
}

/* Who comes for the first time has saved nothing, nor has who left and is not known any more. */
static void test_comes_anew(void **state)
{
	struct fair_user *busy = NULL, *new = NULL;
	sd_event_source *source;

	(void)state;
	assert_true(sd_event_new(&event) >= 0);
	assert_true(sd_event_add_defer(event, &source, on_turn, NULL) >= 0);
	fair = (struct fair){ 0 };
	busy = fair_user_get(&fair, 1000);
	assert_non_null(busy);
	for (unsigned i = 0; i < 2; i++) {
		fair_charge(&fair, &busy->share, 10 * FAIR_SAVED_USEC);
		(void)place_of(&busy->share, source);
		fair_begin(&fair, source);
		new = fair_user_get(&fair, 1001);
		assert_non_null(new);
		assert_int_equal(place_of(&new->share, source), place_of(&busy->share, source));
		fair_user_put(new);
	}
	fair_user_put(busy);
	sd_event_source_disable_unref(source);
	event = sd_event_unref(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_without_places),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_comes_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
