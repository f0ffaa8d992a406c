/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/visits.h"

#include <poll.h>
#include <stddef.h>

#include "library/confinement.h"
#include "library/fork.h"

#define LOOK_AGAIN_MS 1
#define PATIENCE 5000u /* looks without a change, after which threads still inside must have left unseen */

static _Atomic unsigned visitors;
static _Atomic bool over, asked;
static __thread unsigned own; /* visits of this thread */

/**
 * Finds out whether this process may make system calls at all. Threads that ask at the same time get the same answer.
 */
static bool ask(void)
{
	int unknown = confinement_is_unknown();

	if (unknown < 0)
		return false;
	if (unknown > 0)
		over = true;
	else
		fork_watch();
	asked = true;
	return true;
}

/*
 * Counts first and checks `over` then; visits_end_all() does so in the opposite order. So one of them sees the other.
 */
bool visit_begin(void)
{
	own++;
	visitors++;
	if (!over && (asked || ask()) && !over)
		return true;
	visit_end();
	return false;
}

void visit_end(void)
{
	visitors--;
	own--;
}

bool visits_are_over(void)
{
	return over;
}

void visits_end_all(void)
{
	unsigned before = 0;

	over = true;
	for (unsigned looks = 0; visitors != own && looks < PATIENCE; looks++) {
		looks = visitors != before ? 0 : looks;
		before = visitors;
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
}

void visits_in_child(void)
{
	visitors = own;
}
