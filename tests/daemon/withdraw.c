/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that has as many orders made as there can be and leaves with all of them, again and again: no turn of the
 * daemon's loop does more for that than it may. With the word "control": where all are withdrawn at once, one does.
 */
#include <poll.h>
#include <stdio.h>

#include "engine/engine.h"
#include "tests/daemon/attackers.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define DEEDS 3u

static struct instance instance;

int main(int argc, char **argv)
{
	const struct attacker_options options = { .attack = ATTACK_WITHDRAW };
	long long most;
	struct attacker attacker;
	uint64_t last;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 0\n");
	instance_start(&instance);
	attacker = attacker_start(instance.socket, &options);
	last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	while (attacker_deeds(&attacker) < DEEDS) {
		test_check(test_patient_msec() < last, "it does not get orders and leave");
		poll(NULL, 0, 10);
	}
	attacker_stop(&attacker);
	instance_await(&instance, NULL, "shared_pages", 0);
	most = instance_daemon(&instance, "turn_max_steps");
	printf("turn_max_steps: %lld of %u\n", most, ENGINE_STEPS_MAX);
	if (test_wants("control"))
		test_check(most > ENGINE_STEPS_MAX, "all at once are %lld steps only", most);
	else
		test_check(most <= ENGINE_STEPS_MAX, "%lld steps in one turn", most);
	instance_done(&instance);
	return 0;
}
