/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. Two levels for each kind: a bit per page, and a bit per word of these that says that the word
 * may have notes. A VMM thread sets the page's bit first and then the word's, the worker clears them in the opposite
 * order, and all of this is sequentially consistent. So if a note comes while its word is being taken, either the
 * worker sees the page's bit, or the VMM thread sees that the word's bit is gone, and sets it again. The same holds, in
 * turn, for the words' bits and `there`, and for `there` and `watched`.
 *
 * VMM threads make notes without a lock, so a thread may continue after hours on a region that has gone meanwhile. A
 * table is therefore never unmapped: the next region in that place takes it over, or, if it is too small, gets one that
 * is at least twice as large. The late thread then makes a superfluous note for the region that is there now, or behind
 * its end. It reads the number of pages before it reads the address of the table, and tables only grow, so it stays
 * inside.
 */
#include "library/notes.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "common/page.h"
#include "library/lock.h"
#include "library/own.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/visits.h"
#include "library/wake.h"

/**
 * The table's first page. The words follow: for each kind those that say which words have notes, then the notes. Behind
 * all of them is a byte for each page, the image that it was read from last. It is set before the note; if the page is
 * noted already, the worker may still see the previous image with that note.
 */
struct table {
	uint64_t words; /* of notes, for each kind; a multiple of 64 */
};

static _Atomic(struct table *) tables[REGIONS_MAX];
static atomic_bool there;
static atomic_bool watched = true; /* as long as there is no daemon, the worker need not be woken */
static atomic_bool wanted = true;

static uint64_t table_bytes(uint64_t words)
{
	return PAGE_BYTES + NOTE_KINDS * (words + words / 64) * sizeof(uint64_t) + words * NOTES_WORD;
}

static _Atomic uint64_t *filled_words(struct table *table, unsigned kind)
{
	return (_Atomic uint64_t *)((char *)table + PAGE_BYTES) + kind * (table->words + table->words / 64);
}

static _Atomic uint64_t *note_words(struct table *table, enum note_kind kind)
{
	return filled_words(table, kind) + table->words / 64;
}

static _Atomic uint8_t *image_bytes(struct table *table)
{
	return (_Atomic uint8_t *)filled_words(table, NOTE_KINDS);
}

/* ---- tables ---- */

static struct table *table_new(uint64_t words)
{
	uint64_t bytes = table_bytes(words);
	long address = own_map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_error(address))
		return NULL;
	sys_madvise((uint64_t)address, bytes, MADV_NOHUGEPAGE); /* unused parts must not cost memory */
	((struct table *)address)->words = words;
	return (struct table *)address;
}

static void empty(struct table *table)
{
	sys_madvise((uint64_t)table + PAGE_BYTES, table_bytes(table->words) - PAGE_BYTES, MADV_DONTNEED);
}

int notes_make(unsigned region, uint64_t pages)
{
	struct table *table = atomic_load(&tables[region]);
	uint64_t words = table != NULL ? table->words : 64;

	if (table != NULL)
		empty(table);
	if (table != NULL && words * NOTES_WORD >= pages)
		return 0;
	while (words * NOTES_WORD < pages)
		words *= 2;
	table = table_new(words);
	if (table == NULL)
		return -ENOMEM;
	atomic_store(&tables[region], table);
	return 0;
}

void notes_unlock_tables(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct table *table = atomic_load(&tables[i]);

		if (table != NULL)
			own_unlock_table((uint64_t)table, table_bytes(table->words));
	}
}

/* ---- VMM threads ---- */

static void set_word(struct table *table, enum note_kind kind, uint64_t word, uint64_t mask)
{
	_Atomic uint64_t *notes = &note_words(table, kind)[word], *filled = &filled_words(table, kind)[word / 64];

	if ((atomic_load(notes) & mask) != mask)
		atomic_fetch_or(notes, mask);
	if ((atomic_load(filled) & UINT64_C(1) << word % 64) == 0)
		atomic_fetch_or(filled, UINT64_C(1) << word % 64);
}

void notes_set(unsigned region, enum note_kind kind, uint64_t first, uint64_t count, uint8_t image)
{
	struct table *table = atomic_load(&tables[region]);
	_Atomic uint8_t *images = image_bytes(table);

	for (uint64_t at = first; at < first + count; at++)
		atomic_store_explicit(&images[at], image, memory_order_relaxed);
	for (uint64_t at = first, end = first + count, run; at < end; at += run) {
		uint64_t bit = at % NOTES_WORD;

		run = end - at < NOTES_WORD - bit ? end - at : NOTES_WORD - bit;
		set_word(table, kind, at / NOTES_WORD, UINT64_MAX >> (NOTES_WORD - run) << bit);
	}
}

/**
 * Does not wait for the lock; if the lock is taken, the next note wakes the worker, or the worker looks within a
 * second.
 */
static void wake_worker(void)
{
	if (atomic_exchange(&watched, true))
		return;
	if (visit_begin()) {
		if (memory_trylock()) {
			wake_send();
			memory_unlock();
		} else {
			atomic_store(&watched, false);
		}
		visit_end();
	}
}

void notes_made(void)
{
	if (!atomic_load(&there))
		atomic_store(&there, true);
	if (!atomic_load(&watched))
		wake_worker();
}

bool notes_wanted(void)
{
	return atomic_load_explicit(&wanted, memory_order_relaxed);
}

/* ---- the worker ---- */

void notes_want(bool value)
{
	atomic_store_explicit(&wanted, value, memory_order_relaxed);
}

void notes_watch(bool value)
{
	atomic_store(&watched, value);
}

bool notes_are_there(void)
{
	return atomic_load(&there);
}

void notes_begin(void)
{
	atomic_store(&there, false);
}

void notes_leave(void)
{
	atomic_store(&there, true);
}

void notes_put(unsigned region, enum note_kind kind, uint64_t word, uint64_t notes)
{
	set_word(atomic_load(&tables[region]), kind, word, notes);
}

uint64_t notes_clear(unsigned region, enum note_kind kind, uint64_t word, uint64_t notes)
{
	_Atomic uint64_t *set = &note_words(atomic_load(&tables[region]), kind)[word];

	return (atomic_load(set) & notes) != 0 ? atomic_fetch_and(set, ~notes) & notes : 0;
}

uint8_t notes_image(unsigned region, uint64_t page)
{
	return atomic_load_explicit(&image_bytes(atomic_load(&tables[region]))[page], memory_order_relaxed);
}

uint64_t notes_take(unsigned region, enum note_kind kind, uint64_t *word)
{
	struct table *table = atomic_load(&tables[region]);
	_Atomic uint64_t *filled;

	if (table == NULL)
		return 0;
	filled = filled_words(table, kind);
	for (uint64_t at = *word; at < table->words; at = at / 64 * 64 + 64) {
		uint64_t found = atomic_load(&filled[at / 64]) & UINT64_MAX << at % 64;

		for (; found != 0; found &= found - 1) {
			uint64_t mask;

			*word = at / 64 * 64 + (uint64_t)__builtin_ctzll(found);
			atomic_fetch_and(&filled[at / 64], ~(found & -found));
			mask = atomic_exchange(&note_words(table, kind)[*word], 0);
			if (mask != 0)
				return mask;
		}
	}
	return 0;
}
