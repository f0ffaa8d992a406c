/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Notes of pages that the VMM has read into, or is about to: a bit for each page of a region, set by any of its threads
 * and taken by the worker some 200 milliseconds later (noted.h), and a byte for the image that was read. A note is
 * advice. A lost note costs a saving, a superfluous one a useless hash.
 */
#ifndef PAGEFUSE_LIBRARY_NOTES_H
#define PAGEFUSE_LIBRARY_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#define NOTES_WORD 64u /* pages in one word of notes */

enum note_kind {
	NOTE_READ,      /* a read that is over, or is a transfer (transfers.h) while it lasts */
	NOTE_SUBMITTED, /* a read that may be under way, and whose end is not reported */
	NOTE_RIPE,      /* worker only: was submitted before the last look */
	NOTE_AGAIN,     /* worker only: has to be looked at once more */
	NOTE_AGAIN_LATER,
	NOTE_TOLD, /* reported to the daemon, which has not ordered anything since */
	NOTE_KINDS
};

/**
 * Memory for the notes of region number @region, of @pages pages, with none of them set. Memory lock held, before VMM
 * threads can find the region. @return 0 or -ENOMEM.
 */
int notes_make(unsigned region, uint64_t pages);
/** After mlockall(): unlocks the tables, see own.h. Lock held. */
void notes_unlock_tables(void);

/**
 * Sets the notes of pages [first, first + count) of a region that was made with as many pages, also if it has gone
 * meanwhile. @image: the image they are read from, see images.h; 0: not known. Any thread, also in a signal handler; no
 * lock, no system call. notes_made() has to follow.
 */
void notes_set(unsigned region, enum note_kind kind, uint64_t first, uint64_t count, uint8_t image);
/**
 * Notes have been made: wakes the worker if it does not look by itself, which it continues to do for a second after the
 * last note. This one wake-up is a system call that does not wait. Any thread except the worker, without the lock.
 */
void notes_made(void);

/** Whether notes are made at all: if the daemon wants none they cost nothing. Set by the worker. */
bool notes_wanted(void);
void notes_want(bool value);

/* ---- the worker's ---- */

/**
 * @value: VMM threads need not wake the worker, as it looks by itself. After false, check notes_are_there() once more.
 */
void notes_watch(bool value);
/** Whether there may be notes. */
bool notes_are_there(void);
/** Notes are about to be taken; notes made from now on count as new. */
void notes_begin(void);
/** Some notes have been left. */
void notes_leave(void);
/**
 * Takes the next word with notes of a kind, at *word or behind it: pages from *word * NOTES_WORD on, a bit for each.
 * Lock held. @return the notes; 0: no more in this region.
 */
uint64_t notes_take(unsigned region, enum note_kind kind, uint64_t *word);
/** Sets notes in a word, as notes_take() has them. Lock held. */
void notes_put(unsigned region, enum note_kind kind, uint64_t word, uint64_t notes);
/** The image of a page whose note was taken, as last given to notes_set(). Lock held. */
uint8_t notes_image(unsigned region, uint64_t page);
/** Clears some of them. Lock held. @return those that were set. */
uint64_t notes_clear(unsigned region, enum note_kind kind, uint64_t word, uint64_t notes);

#endif
