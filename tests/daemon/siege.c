/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/siege.h"

#include <poll.h>
#include <stdio.h>

#include "tests/support/test.h"

static bool holds_connections(enum attack attack)
{
	return attack == ATTACK_DEAF || attack == ATTACK_HALF;
}

void siege_add(struct siege *siege, const char *socket, enum attack attack, uid_t uid, gid_t gid)
{
	const struct attacker_options options = {
		.attack = attack, .uid = uid, .gid = gid, .has_mapped = true, .nice = siege->nice
	};

	test_check(siege->count < SIEGE_MAX, "there are too many attackers");
	siege->attackers[siege->count++] = attacker_start(socket, &options);
}

void siege_start(struct siege *siege, const char *socket)
{
	for (unsigned i = 0; i < SIEGE_USERS; i++)
		for (enum attack attack = 0; attack < ATTACK_END; attack++)
			if (!holds_connections(attack))
				siege_add(siege, socket, attack, SIEGE_ATTACKERS + i, SIEGE_GROUP);
	for (unsigned i = 0; i < SIEGE_HOARDERS; i++) {
		const uid_t asker = SIEGE_OUTSIDERS + i + SIEGE_HOARDERS;

		siege_add(siege, socket, i % 2 == 0 ? ATTACK_DEAF : ATTACK_HALF, SIEGE_ATTACKERS + SIEGE_USERS + i,
			  SIEGE_GROUP);
		siege_add(siege, socket, i % 2 == 0 ? ATTACK_HALF : ATTACK_DEAF, SIEGE_OUTSIDERS + i, 0);
		siege_add(siege, socket, ATTACK_ASK, asker, 0);
		siege_add(siege, socket, ATTACK_KNOCK, asker, 0);
	}
}

void siege_end(struct siege *siege)
{
	while (siege->count > 0)
		attacker_stop(&siege->attackers[--siege->count]);
}

void siege_await(const struct siege *siege, uint64_t more)
{
	uint64_t before[SIEGE_MAX] = { 0 }, last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	const struct attacker *attackers = siege->attackers;

	for (unsigned i = 0; i < siege->count; i++)
		before[i] = attacker_deeds(&attackers[i]);
	for (unsigned i = 0; i < siege->count; i++)
		while (attacker_deeds(&attackers[i]) < before[i] + more) {
			test_check(test_patient_msec() < last, "attack %s, number %u, has done no more than %llu",
				   attack_name(attackers[i].attack), i,
				   (unsigned long long)(attacker_deeds(&attackers[i]) - before[i]));
			poll(NULL, 0, 10);
		}
	test_progress();
}

void siege_print(const struct siege *siege)
{
	uint64_t sums[ATTACK_END] = { 0 };

	for (unsigned i = 0; i < siege->count; i++)
		sums[siege->attackers[i].attack] += attacker_deeds(&siege->attackers[i]);
	for (enum attack attack = 0; attack < ATTACK_END; attack++)
		printf("%s: %llu\n", attack_name(attack), (unsigned long long)sums[attack]);
}
