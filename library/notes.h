/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Notes of pages that the VMM has read into, or is about to: a bit for each page of a region, set by any of its
 * threads and taken by the worker some 200 milliseconds later (noted.h). A note is advice. One that is lost costs a
 * saving, one too many a vain hash.
 */
#ifndef PAGEFUSE_LIBRARY_NOTES_H
#define PAGEFUSE_LIBRARY_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#define NOTES_WORD 64u /* pages in one word of notes */

enum note_kind {
	NOTE_READ,      /* a read that is over, or as long as it lasts a transfer (transfers.h) */
	NOTE_SUBMITTED, /* a read that may be under way, and nobody tells when it is over */
	NOTE_RIPE,      /* the worker's: was submitted before the last look */
	NOTE_AGAIN,     /* the worker's: to be looked at once more */
	NOTE_AGAIN_LATER,
	NOTE_TOLD, /* the daemon has been told of it, and has not ordered anything since */
	NOTE_KINDS
};

/**
 * Memory for the notes of region number @region, of @pages pages, with none of them set. Memory lock held, before VMM
 * threads can find the region. @return 0 or -ENOMEM.
 */
int notes_make(unsigned region, uint64_t pages);
/** After mlockall(): the tables are not locked, see own.h. Lock held. */
void notes_unlock_tables(void);

/**
 * Sets the notes of pages [first, first + count) of a region that was made with as many pages, also if it has gone
 * meanwhile. Any thread, also in a signal handler; no lock, no system call. notes_made() has to follow.
 */
void notes_set(unsigned region, enum note_kind kind, uint64_t first, uint64_t count);
/**
 * The worker is to know: wakes it where it does not look by itself, which it goes on doing for a second after the last
 * note. That one wake is a system call; it waits for nothing. Any thread but the worker, without the lock.
 */
void notes_made(void);

/** Whether notes are set at all: where the daemon wants none they cost nothing. The worker says so. */
bool notes_wanted(void);
void notes_want(bool value);

/* ---- the worker's ---- */

/** Whether VMM threads need not wake it, as it looks by itself. After false: notes_are_there() once more. */
void notes_watch(bool value);
/** Whether there may be notes. */
bool notes_are_there(void);
/** They are about to be taken, and those that are made from now on are new ones. */
void notes_begin(void);
/** Some have been left. */
void notes_leave(void);
/**
 * Takes the next word with notes of a kind, at *word or behind it: pages from *word * NOTES_WORD on, a bit for each.
 * Lock held. @return the notes; 0: no more in this region.
 */
uint64_t notes_take(unsigned region, enum note_kind kind, uint64_t *word);
/** Sets notes in a word, as notes_take() has them. Lock held. */
void notes_put(unsigned region, enum note_kind kind, uint64_t word, uint64_t notes);
/** Clears some of them. Lock held. @return those that were set. */
uint64_t notes_clear(unsigned region, enum note_kind kind, uint64_t word, uint64_t notes);

#endif
