/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the VMM does that changes no memory by itself, and what that means for sharing. See memory.h. */
#include <stdatomic.h>

#include "library/files.h"
#include "library/images.h"
#include "library/memory.h"
#include "library/nested.h"
#include "library/plain.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/visits.h"

/* ---- files ---- */

void memory_note_file(int fd, bool direct)
{
	images_forget((unsigned)fd, (unsigned)fd);
	if (!visit_begin())
		return;
	files_note(fd, direct);
	visit_end();
}

void memory_note_references(void)
{
	files_note_pins();
	if (!visit_begin())
		return;
	files_note_references();
	visit_end();
}

void memory_note_pins(void)
{
	files_note_lasting_pins();
}

/* ---- unseen calls ---- */

static _Atomic bool unseen;

void memory_note_unseen(void)
{
	if (PROTECTED(PROTECT_UNSEEN_CALLS))
		unseen = true;
}

bool memory_unseen(void)
{
	return unseen;
}

bool memory_leave_store(void)
{
	struct region *region;

	for (unsigned i = 0; i < REGIONS_MAX && region_totals.shared != 0; i++) {
		for (uint64_t at = 0, end; (region = region_piece(i, at, &end)) != NULL; at = end) {
			plain_leave_store(region, at, end - at);
			region_piece_end();
		}
	}
	return region_totals.shared == 0;
}

/* ---- KVM ---- */

void memory_note_vcpu(bool nests)
{
	nested_note_vcpu(nests);
}
