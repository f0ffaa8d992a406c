/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMMs of a test's own: children that obey orders of one letter, and answer each by the same letter when it is done. */
#ifndef PAGEFUSE_TESTS_SYSTEM_FLEET_H
#define PAGEFUSE_TESTS_SYSTEM_FLEET_H

#include <sys/types.h>

#define FLEET_VMS_MAX 8u

struct fleet_vm {
	pid_t pid; /* 0: not running */
	int orders, answers;
	char name[16]; /* another one each time that it is started */
};

struct fleet {
	struct fleet_vm vms[FLEET_VMS_MAX];
	unsigned count; /* set by the test, as is `run` */
	unsigned born;
	/** What a child does: reads orders, writes answers. It does not return. */
	void (*run)(const struct fleet_vm *vm, unsigned which);
};

void fleet_start(struct fleet *fleet, unsigned which);
/** Kills one that must be alive: one that has ended by itself fails the test. */
void fleet_kill(struct fleet *fleet, unsigned which);
/** Gives an order, without waiting for it to be done. */
void fleet_order(const struct fleet *fleet, unsigned which, char what);
/** Waits until it is. One that does not answer has seen damage. */
void fleet_await(const struct fleet *fleet, unsigned which, char what);
/** Has all do it at the same time, and waits until they have. */
void fleet_tell_all(const struct fleet *fleet, char what);

#endif
