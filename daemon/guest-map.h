/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a VM's pages are in guest physical memory: guest page frames <-> page numbers, as its VMM reports. The daemon
 * keeps the map, since it is what needs it: hints of an agent name guest physical addresses, and people are shown
 * memory as the guest sees it. The map is only the VMM's word; all it decides is which of the VM's own pages are meant.
 *
 * A frame belongs to one page. A page may have several frames (the BIOS below 1 MiB and below 4 GiB), or none.
 */
#ifndef PAGEFUSE_DAEMON_GUEST_MAP_H
#define PAGEFUSE_DAEMON_GUEST_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/wire.h"

struct guest_map_page;

struct guest_map {
	struct wire_range *ranges; /* in the order of their frames, of which none is in two */
	uint32_t count;
	struct guest_map_page *pages; /* the same ranges in the order of their pages */

	/* The map that is being received, in chunks. */
	struct wire_range *next;
	uint32_t next_count;
	bool coming;
	bool left_out; /* it is not taken in */
};

/** Frees its memory; then it is empty. */
void guest_map_done(struct guest_map *map);

/**
 * Takes in a chunk of a new map: @count ranges that have passed wire_check(). It takes the place of what was known with
 * its last chunk. @first, @last: whether it is. @return 0; -EPROTO if it does not follow its predecessor; -ENOSPC
 * beyond WIRE_RANGES_MAX; -ENOMEM. In these cases what was known stays, and the new map begins anew.
 */
int guest_map_take(struct guest_map *map, const struct wire_range *ranges, uint32_t count, bool first, bool last);

/** Memory that it takes. */
uint64_t guest_map_bytes(const struct guest_map *map);
/** Forgets the map, and ignores the rest of a map that is being received: there is no memory for it. */
void guest_map_leave_out(struct guest_map *map);

/** The page at frame @gfn. @return its number, 0 if there is none. */
uint32_t guest_map_page(const struct guest_map *map, uint64_t gfn);

/**
 * The lowest frame from @gfn on that shows @page: begin with 0, go on after what was found. @return whether there is
 * one.
 */
bool guest_map_next_frame(const struct guest_map *map, uint32_t page, uint64_t gfn, uint64_t *ret_gfn);

#endif
