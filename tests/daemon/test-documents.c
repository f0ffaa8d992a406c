/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents are made one after the other, by turns of those who have them made, and the loop waits for none, whoever
 * goes away meanwhile. Built with DOCUMENTS_WAIT the loop does wait, and it is seen that a document which takes long
 * then keeps it from everything else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/documents.h"
#include "daemon/turn.h"

#ifndef DOCUMENTS_WAIT
#define DOCUMENTS_WAIT 0
#endif
#define PATIENCE_MSEC 300000
#define MOMENT_MSEC 1000 /* of a loop that is to do nothing */
#define TEXTS 6u
#define WORK_USEC 2000u /* of CPU time, that a text takes which is work */

struct text {
	struct document document;
	char name;
	bool has_nothing, is_slow; /* there is nothing to be made; it is made when the loop says so, or gives up */
	bool is_work;
	bool copied, made, is_done, gave_up;
};

static struct fair fair;
static struct fair_user *users[2];
static sd_event *event;
static struct documents documents;
static struct text texts[TEXTS];
static char order[TEXTS + 1]; /* names, as they were done */
static unsigned awaited;      /* the loop is left when so many are done */
static int words[2];          /* a pipe, from the loop to who is slow */

static struct text *text_of(struct document *document)
{
	return (struct text *)((char *)document - offsetof(struct text, document));
}

static bool copy(struct document *document)
{
	text_of(document)->copied = true;
	return !text_of(document)->has_nothing;
}

static void make(struct document *document)
{
	struct text *text = text_of(document);
	struct pollfd word = { .fd = words[0], .events = POLLIN };
	uint64_t began = clock_cpu_usec();
	char byte;

	while (text->is_work && clock_cpu_usec() < began + WORK_USEC)
		;
	if (text->is_slow)
		text->gave_up = poll(&word, 1, DOCUMENTS_WAIT ? MOMENT_MSEC : PATIENCE_MSEC) <= 0 ||
				read(words[0], &byte, 1) != 1;
	text->made = true;
}

static void done(struct document *document)
{
	struct text *text = text_of(document);
	size_t count = strlen(order);

	assert_int_equal(text->made, !text->has_nothing);
	assert_false(text->is_done);
	text->is_done = true;
	order[count++] = text->name;
	if (count == awaited)
		(void)sd_event_exit(event, 0);
}

static void say_word(void)
{
	assert_int_equal(write(words[1], "", 1), 1);
}

/* What else the loop has to do. */
static int on_turn(sd_event_source *source, void *context)
{
	(void)source;
	(void)context;
	say_word();
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(texts, 0, sizeof(texts));
	memset(order, 0, sizeof(order));
	assert_int_equal(pipe2(words, O_CLOEXEC), 0);
	assert_true(sd_event_new(&event) >= 0);
	for (unsigned i = 0; i < 2; i++) {
		users[i] = fair_user_get(&fair, 1000 + i);
		assert_non_null(users[i]);
	}
	for (unsigned i = 0; i < TEXTS; i++) {
		texts[i].name = (char)('a' + i);
		texts[i].document = (struct document){ .copy = copy, .make = make, .done = done, .payer = users[0] };
	}
	assert_int_equal(documents_start(&documents, event, &fair), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	documents_stop(&documents);
	for (unsigned i = 0; i < 2; i++)
		fair_user_put(users[i]);
	event = sd_event_unref(event);
	close(words[0]);
	close(words[1]);
	return 0;
}

static void add(unsigned i)
{
	documents_add(&documents, &texts[i].document);
}

static void run(unsigned count)
{
	awaited = count;
	assert_int_equal(turn_loop(event), 0);
}

static void test_loop_goes_on(void **state)
{
	sd_event_source *turn;

	(void)state;
	texts[0].is_slow = true;
	assert_true(sd_event_add_defer(event, &turn, on_turn, NULL) >= 0);
	add(0);
	run(1);
	assert_int_equal(texts[0].gave_up, DOCUMENTS_WAIT);
	sd_event_source_disable_unref(turn);
}

/* Five of one user's and one of another's, who is second, having had nothing. What the thread does is charged. */
static void test_users_take_turns(void **state)
{
	int64_t had_usec = users[0]->share.had_usec;

	(void)state;
	texts[0].is_slow = texts[0].is_work = true;
	texts[5].document.payer = users[1];
	for (unsigned i = 0; i < TEXTS; i++)
		add(i);
	assert_false(texts[1].copied);
	say_word();
	run(TEXTS);
	assert_string_equal(order, "afbcde");
	assert_true(users[0]->share.had_usec >= had_usec + WORK_USEC);
}

static void test_nothing_to_make(void **state)
{
	(void)state;
	texts[0].has_nothing = true;
	add(0);
	assert_true(texts[0].is_done);
	texts[1].is_slow = texts[2].has_nothing = true;
	for (unsigned i = 1; i < 4; i++)
		add(i);
	say_word();
	run(4);
	assert_string_equal(order, "abcd");
}

/* Who goes away while he waits is forgotten; who does while his is made is told when it is. */
static void test_dropped(void **state)
{
	(void)state;
	texts[0].is_slow = true;
	for (unsigned i = 0; i < 3; i++)
		add(i);
	assert_false(documents_drop(&documents, &texts[0].document));
	assert_true(documents_drop(&documents, &texts[1].document));
	say_word();
	run(2);
	assert_string_equal(order, "ac");
	assert_false(texts[1].copied);
}

static void test_stopped(void **state)
{
	(void)state;
	texts[0].is_slow = true;
	add(0);
	say_word();
	documents_stop(&documents);
	assert_string_equal(order, "a");
}

int main(void)
{
	const struct CMUnitTest first[] = {
		cmocka_unit_test_setup_teardown(test_loop_goes_on, set_up, tear_down),
	};
	/* In these a loop that waits would never come to say the word. */
	const struct CMUnitTest others[] = {
		cmocka_unit_test_setup_teardown(test_users_take_turns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_to_make, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dropped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stopped, set_up, tear_down),
	};
	int failed = cmocka_run_group_tests(first, NULL, NULL);

	return DOCUMENTS_WAIT ? failed : failed + cmocka_run_group_tests(others, NULL, NULL);
}
