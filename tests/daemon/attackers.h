/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile peers of every kind, each a process of its own that goes on without end: what it does once is a deed, and
 * deeds are counted, so that a test knows that it is under attack.
 */
#ifndef PAGEFUSE_TESTS_DAEMON_ATTACKERS_H
#define PAGEFUSE_TESTS_DAEMON_ATTACKERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ATTACKER_REGION_PAGES (UINT64_C(1) << 20) /* of each region that one registers */

enum attack {
	/* At the control socket. */
	ATTACK_ASK,   /* asks for the status without end */
	ATTACK_DEAF,  /* asks on many connections, and reads no reply */
	ATTACK_HALF,  /* says half a message, or nothing, on as many connections as it can have */
	ATTACK_KNOCK, /* connects and hangs up */
	/* As VMMs. */
	ATTACK_COME_AND_GO, /* of a new process each time, which has joined */
	ATTACK_DOORBELLS,   /* packets without end */
	ATTACK_GARBAGE,     /* in its rings */
	ATTACK_MAPS,        /* tells the greatest map of its memory, without end */
	ATTACK_HASHES,      /* contents made up, each once: a report without memory behind it, without end */
	ATTACK_CONTENTS,    /* each twice, so that it is brought into the store: takes all slots */
	ATTACK_SEGMENTS,    /* the same, and each anew once it is shared: takes all offsets, and keeps some segments */
	ATTACK_STRIPES,     /* two contents by turns, so that neighbours never follow each other; anew once shared */
	ATTACK_CLAIMS,      /* RAM that its process has not mapped */
	ATTACK_NUMBERS,     /* regions of terabytes that come and go, mapped and without memory: takes page numbers */
	ATTACK_WITHDRAW,    /* has as many orders made as there can be, and leaves with all of them */
	/* As a guest. */
	ATTACK_AGENT, /* an agent that says whatever it can, without end */
	ATTACK_END
};

struct attacker_options {
	enum attack attack;
	uid_t uid;
	gid_t gid;        /* 0: as the user's number */
	const char *name; /* of its VM; NULL: that of the attack */
	uint64_t pages;   /* that it registers, for ATTACK_HASHES, _CONTENTS and _CLAIMS; 0: many */
	bool has_mapped;  /* so many, without touching them */
	int nice;         /* as nice(2): so much it leaves the CPUs to others */
	bool once;        /* registers these, and does nothing more than to obey */
};

struct attacker {
	pid_t pid;
	enum attack attack;
	uint64_t *deeds; /* shared with it */
};

/** Starts one against the daemon at @socket. It goes with the test, or when it is stopped. */
struct attacker attacker_start(const char *socket, const struct attacker_options *options);
/** So far. */
uint64_t attacker_deeds(const struct attacker *attacker);
void attacker_stop(struct attacker *attacker);
const char *attack_name(enum attack attack);

#endif
