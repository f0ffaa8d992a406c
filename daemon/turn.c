/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/turn.h"

#include <string.h>

#include "daemon/clock.h"

static uint64_t done[TURN_WORK_END], most[TURN_WORK_END], longest_usec, longest_cpu_usec;

/* The thread's CPU time costs a system call, so a turn begins with what the one before was seen to end with. */
static uint64_t cpu_began, cpu_seen;

void turn_note(enum turn_work work, uint64_t count)
{
	done[work] += count;
	if (done[work] > most[work])
		most[work] = done[work];
}

uint64_t turn_most(enum turn_work work)
{
	return most[work];
}

uint64_t turn_longest_usec(void)
{
	return longest_usec;
}

uint64_t turn_longest_cpu_usec(void)
{
	return longest_cpu_usec;
}

uint64_t turn_cpu_usec(void)
{
	cpu_seen = clock_cpu_usec();
	return cpu_seen - cpu_began;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static int dispatch(sd_event *event)
{
	uint64_t began = clock_now_usec();
	int r;

	cpu_began = cpu_seen;
	memset(done, 0, sizeof(done));
	r = sd_event_dispatch(event);
	longest_usec = higher(longest_usec, clock_now_usec() - began);
	if (cpu_seen == cpu_began) /* nobody has looked */
		(void)turn_cpu_usec();
	longest_cpu_usec = higher(longest_cpu_usec, cpu_seen - cpu_began);
	return r;
}

int turn_loop(sd_event *event)
{
	int r = 0, code = 0;

	cpu_seen = clock_cpu_usec();
	while (r >= 0 && sd_event_get_state(event) != SD_EVENT_FINISHED) {
		r = sd_event_prepare(event);
		if (r == 0)
			r = sd_event_wait(event, UINT64_MAX);
		if (r > 0)
			r = dispatch(event);
	}
	if (r >= 0)
		r = sd_event_get_exit_code(event, &code);
	return r < 0 ? r : code;
}
