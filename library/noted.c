/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The worker sleeps until a VMM thread wakes it with the first note after a quiet time. From then
 * on it looks every LOOK_MSEC, or sooner where that is worth it, as long as there are notes and for QUIET_MSEC more, so
 * that it is not woken twice in that time; then it sleeps again. Between two looks it does its other work.
 *
 *	note        when it is looked at
 *	READ        at the next look; while the read is under way, at the one after
 *	SUBMITTED   at the look after the next, as RIPE; and as AGAIN, as the end of such a read is not reported
 *	AGAIN       between one and two times AGAIN_MSEC later: notes are added to AGAIN and AGAIN_LATER by turns,
 *	            and at the end of a turn the kind that the turn before has added to is looked at
 *
 * So a page that a submitted read has filled by the first look, as most have, is shared at once, and other pages soon
 * after. A page that could not be held because a device was still writing it is treated in the same way. A read that
 * fails, or a page that the guest has written meanwhile, costs one useless hash.
 */
#include "library/noted.h"

#include <stdbool.h>
#include <time.h>

#include "library/notes.h"
#include "library/orders.h"
#include "library/region.h"
#include "library/scan.h"
#include "library/session.h"
#include "library/transfers.h"

#define LOOK_MSEC 200u   /* so that many notes come together, and are shared in longer runs and with fewer wake-ups */
#define RIPEN_MSEC 100u  /* if submitted reads wait, and after a quiet time */
#define LOOK_ON_MSEC 30u /* if a look has left some notes */
#define QUIET_MSEC 1000u
#define AGAIN_MSEC 500u
#define LOOK_PAGES 4096u /* of a kind, at most in one look; docs/design/hints.md has the cost */
#define WORD_PAGES 2u    /* checking a word takes as long as hashing so many pages */

static bool looks;        /* the worker looks by itself, until there are no more notes */
static bool wanted;       /* the daemon wants reports */
static bool suspended;    /* nothing may be hashed for now */
static bool ripening;     /* the last look has found submitted reads */
static bool names_images; /* the daemon accepts from which image a page was read */
static uint64_t due_msec, heard_msec;
/* Which of the two kinds is added to, since when, and of which kinds there may be notes. */
static struct again {
	bool later;
	uint64_t turn_msec;
	bool waiting[2];
} again;
static uint64_t notes_taken;
/* Where the next look goes on. */
static struct place {
	unsigned region;
	uint64_t word;
} next[NOTE_KINDS];
static struct scan scan; /* too large for a small stack */
_Static_assert(3 * NOTES_WORD <= SCAN_REPORTS_MAX, "two reports of each page of a word, and what it was read from");

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void start_looking(void)
{
	looks = true;
	notes_watch(true);
	heard_msec = now_msec();
	due_msec = heard_msec + RIPEN_MSEC;
}

void noted_begin(enum wire_mode mode)
{
	notes_want(mode != WIRE_MODE_ZERO);
}

void noted_want(bool want)
{
	notes_want(want);
	wanted = want;
	looks = false;
	notes_watch(true);
	if (want)
		start_looking();
}

void noted_end(void)
{
	looks = wanted = false;
	notes_watch(true); /* nobody need wake a worker that has no daemon to report to */
}

/** The next word with notes of a kind. @places: how many regions are left to look at. Lock held. @return the notes. */
static uint64_t take(enum note_kind kind, unsigned *places, struct place *ret)
{
	struct place *at = &next[kind];

	for (; *places > 0; --*places, *at = (struct place){ .region = (at->region + 1) % REGIONS_MAX }) {
		const struct region *region = region_at(at->region);
		uint64_t notes = 0;

		if (region != NULL && !region->leaving && !region->announced)
			notes_leave(); /* the daemon does not know its pages yet */
		else if (region != NULL && !region->leaving)
			notes = notes_take(at->region, kind, &at->word);
		if (notes == 0)
			continue;
		*ret = *at;
		at->word++;
		return notes;
	}
	return 0;
}

static bool any_again(void)
{
	return again.waiting[0] || again.waiting[1];
}

/** Lock held. */
static void note_again(const struct place *place, uint64_t notes)
{
	if (!any_again())
		again.turn_msec = now_msec();
	again.waiting[again.later] = true;
	notes_put(place->region, again.later ? NOTE_AGAIN_LATER : NOTE_AGAIN, place->word, notes);
}

/** Notes of a word without those behind the region's end, which were meant for a larger region there before. */
static uint64_t inside(const struct region *region, uint64_t index, uint64_t notes)
{
	if (index >= region->pages)
		return 0;
	return region->pages - index < NOTES_WORD ? notes & ((UINT64_C(1) << (region->pages - index)) - 1) : notes;
}

/** Which of the word's pages have been reported. */
static uint64_t reported(const struct region *region, const struct place *place)
{
	uint32_t first = region->first_page + (uint32_t)(place->word * NOTES_WORD);
	uint64_t pages = 0;

	for (unsigned i = 0; i < scan.report_count; i++) {
		const struct ring_record *report = &scan.reports[i];

		if (report->flags & RING_NOTED)
			pages |= UINT64_MAX >> (NOTES_WORD - report->count) << (report->page - first);
	}
	return pages;
}

/** Adds reports of the images that the reported pages were read from. Lock held. */
static void tell_images(const struct region *region, const struct place *place)
{
	uint64_t left = reported(region, place), index = place->word * NOTES_WORD;
	struct ring_record *last = NULL;

	for (; left != 0; left &= left - 1) {
		uint64_t at = index + (unsigned)__builtin_ctzll(left);
		uint32_t page = region->first_page + (uint32_t)at;
		uint8_t image = notes_image(place->region, at);

		if (image == 0)
			continue;
		if (last != NULL && last->value == image && last->page + last->count == page) {
			last->count++;
			continue;
		}
		last = &scan.reports[scan.report_count++];
		*last = (struct ring_record){ .op = REPORT_SOURCE, .count = 1, .page = page, .value = image };
	}
}

/** Hashes the noted pages whose read is over, as far as is known. Lock held. @return how many were looked at. */
static unsigned look_at(enum note_kind kind, const struct place *place, uint64_t notes)
{
	const struct region *region = region_at(place->region);
	uint64_t index = place->word * NOTES_WORD;
	uint64_t busy;
	unsigned first, last;

	notes = inside(region, index, notes);
	busy = notes & transfers_touch(region_hva(region, index), NOTES_WORD);

	if (busy != 0) {
		notes_put(place->region, NOTE_READ, place->word, busy);
		notes_leave();
	}
	notes &= ~busy;
	if (notes == 0)
		return 0;
	if (kind == NOTE_SUBMITTED) {
		notes_put(place->region, NOTE_RIPE, place->word, notes);
		notes_leave();
		ripening = true;
		return 0;
	}
	if (kind == NOTE_RIPE)
		note_again(place, notes);
	notes_put(place->region, NOTE_TOLD, place->word, notes);
	first = (unsigned)__builtin_ctzll(notes);
	last = 63 - (unsigned)__builtin_clzll(notes);
	scan.notes = notes >> first;
	scan_chunk(&scan, region->first_page + (uint32_t)index + first, last - first + 1);
	if (names_images)
		tell_images(region, place);
	return (unsigned)__builtin_popcountll(notes);
}

/** Looks at notes of a kind, for the time that LOOK_PAGES take. *ret_left: whether there may be more. */
static int look(struct session *session, enum note_kind kind, bool *ret_left)
{
	unsigned most = LOOK_PAGES;
	unsigned places = REGIONS_MAX + 1; /* the first twice: from where the last look ended, and from its start */
	int r = 0;

	while (r == 0 && places > 0 && most > 0) {
		struct place place;
		uint64_t notes;
		unsigned looked = 0;

		scan.report_count = 0;
		orders_lock();
		suspended = orders_are_suspended();
		notes = suspended ? 0 : take(kind, &places, &place);
		if (notes != 0)
			looked = look_at(kind, &place, notes);
		memory_unlock();
		if (suspended)
			break;
		notes_taken += kind == NOTE_READ || kind == NOTE_RIPE ? looked : 0;
		looked += notes != 0 ? WORD_PAGES : 0;
		most -= looked < most ? looked : most;
		for (unsigned i = 0; i < scan.report_count && r == 0; i++)
			r = session_post(session, &scan.reports[i]);
	}
	*ret_left |= places > 0;
	return r;
}

/** A turn is over, unless not all notes could be looked at: then it goes on. */
static int look_again(struct session *session)
{
	bool left = false;
	int r = look(session, again.later ? NOTE_AGAIN : NOTE_AGAIN_LATER, &left);

	if (left)
		return r;
	again.waiting[!again.later] = false;
	again.later = !again.later;
	again.turn_msec = due_msec;
	return r;
}

/** Looks at all notes that are due. *ret_wait_msec: when to look again. */
static int look_now(struct session *session, uint64_t *ret_wait_msec)
{
	bool left = false;
	int r = 0;

	suspended = ripening = false;
	scan.noted = true;
	scan.what = ORDER_SCAN;
	scan.seed = session->seed;
	names_images = session_has(session, WIRE_FEATURE_IMAGES);
	if (notes_are_there()) {
		heard_msec = due_msec;
		notes_begin();
		r = look(session, NOTE_READ, &left);
		if (r == 0)
			r = look(session, NOTE_RIPE, &left);
		if (r == 0)
			r = look(session, NOTE_SUBMITTED, &left);
		if (left)
			notes_leave();
	}
	if (r == 0 && any_again() && due_msec - again.turn_msec >= AGAIN_MSEC)
		r = look_again(session);
	*ret_wait_msec = suspended ? QUIET_MSEC : left ? LOOK_ON_MSEC
					  : ripening   ? RIPEN_MSEC
						       : LOOK_MSEC;
	return r;
}

void noted_ended(uint32_t page, bool busy)
{
	const struct region *region = wanted ? region_of_page(page) : NULL;
	struct place place;
	uint64_t note;

	if (region == NULL)
		return;
	place = (struct place){ .region = region_number(region), .word = (page - region->first_page) / NOTES_WORD };
	note = UINT64_C(1) << (page - region->first_page) % NOTES_WORD;
	if (notes_clear(place.region, NOTE_TOLD, place.word, note) == 0 || !busy)
		return;
	note_again(&place, note);
	if (!looks)
		start_looking();
}

int noted_look(struct session *session)
{
	uint64_t now = now_msec(), wait_msec;
	int r;

	if (!looks && wanted && notes_are_there())
		start_looking();
	if (!looks || now < due_msec)
		return 0;
	due_msec = now;
	r = look_now(session, &wait_msec);
	due_msec = now + wait_msec;
	if (!notes_are_there() && !any_again() && now - heard_msec >= QUIET_MSEC) {
		looks = false;
		notes_watch(false);
	}
	return r;
}

int noted_patience_msec(int most)
{
	uint64_t now;

	if (!looks)
		return wanted && notes_are_there() ? 0 : most;
	now = now_msec();
	return due_msec <= now ? 0 : due_msec - now < (uint64_t)most ? (int)(due_msec - now)
								     : most;
}

void noted_stats(uint64_t *ret_notes, uint64_t *ret_hashed)
{
	*ret_notes = notes_taken;
	*ret_hashed = scan.hashed;
}
