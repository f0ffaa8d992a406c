/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/memory-locks.h"

#include <stddef.h>

#include "library/hold.h"
#include "library/mappings.h"
#include "library/part.h"
#include "library/protections.h"
#include "library/session.h"
#include "library/template.h"
#include "library/view.h"

static void bar_locked(uint64_t start, uint64_t length, bool on)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;

		if (part_find(region_at(i), start, length, &part))
			part_exclude(&part, EXCLUDED_LOCKED, on);
	}
}

static void found_locked(uint64_t start, uint64_t length)
{
	bar_locked(start, length, true);
}

/** mlockall() and munlockall(). */
static bool is_all(uint64_t start, uint64_t length)
{
	return start == 0 && length == SIZE_MAX;
}

bool memory_locks_let_go(enum memory_change change)
{
	return change == CHANGE_LOCK && PROTECTED(PROTECT_LOCK_LET_GO);
}

void memory_locks_begin(uint64_t start, uint64_t length)
{
	bar_locked(start, length, true);
	if (is_all(start, length)) {
		view_hide();
		template_drop_all();
	}
}

void memory_locks_end(enum memory_change change, uint64_t start, uint64_t length, bool succeeded)
{
	if (change == CHANGE_LOCK && is_all(start, length)) {
		view_show();
		hold_unlock_scratch();
		region_unlock_tables();
		session_unlock_ring();
	}
	if ((change == CHANGE_LOCK && succeeded) || mappings_will_be_locked()) {
		bar_locked(start, length, true);
		return;
	}
	bar_locked(start, length, false);
	if (!succeeded)
		mappings_each_locked(start, length, found_locked);
}
