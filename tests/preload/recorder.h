/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stand-in for the library behind library/memory.h and its like: it has one range that is "ours", writes down every
 * call, and can be told what to answer. It spoils errno wherever it is called, since the preload must not let that be
 * seen.
 */
#ifndef PAGEFUSE_TESTS_PRELOAD_RECORDER_H
#define PAGEFUSE_TESTS_PRELOAD_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "library/memory.h"

enum recorded {
	RECORDED_REGISTER,
	RECORDED_BEGIN,
	RECORDED_END,
	RECORDED_NOTE,
	RECORDED_VCPU,
	RECORDED_CONFINE,
	RECORDED_CONFINE_FAILED,
	RECORDED_FORK_PREPARE,
	RECORDED_FORK_PARENT,
	RECORDED_FORK_CHILD,
	RECORDED_READ,
	RECORDED_FILE,
	RECORDED_REFERENCES,
	RECORDED_PINS,
};

struct record {
	enum recorded kind;
	enum memory_change change;
	void *address;
	size_t length;
	int detail;
	bool succeeded;
	uint64_t gpa;
	uint32_t slot;
};

#define RECORDS_MAX 16
extern struct record records[RECORDS_MAX];
extern unsigned records_count;

extern int recorder_register_result;    /* of memory_register() */
extern int recorder_begin_result;       /* of memory_change_begin() */
extern int recorder_proc_result;        /* of proc_read(); 0: it reads */
extern void (*recorder_in_begin)(void); /* runs inside memory_change_begin(); NULL: nothing */

/** Of transfers_begin() for memory that is ours, and transfers_end(). */
extern struct recorded_transfers {
	const void *address; /* of the last */
	size_t length;
	unsigned begun; /* how many */
	uint64_t open;  /* that have not ended */
} recorder_transfers;

/** Pages that were noted. */
extern struct recorded_notes {
	const void *address; /* of the last */
	size_t length;
	unsigned count;
	enum note_kind kind;
	int fd;           /* that it is read from */
	bool in_transfer; /* a transfer was under way */
} recorder_notes;

/** Descriptors that were forgotten last; also those that cmocka closes. */
extern struct recorded_forgotten {
	unsigned first, last;
} recorder_forgotten;

/** Forgets all records and answers, and makes [@address, @address + @length) ours; length 0: no region at all. */
void recorder_reset(void *address, size_t length);

#endif
