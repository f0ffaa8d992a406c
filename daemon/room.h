/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How large the store's tmpfs is: as much as is stored in it, and a little for stray faults.
 *
 * Whoever maps a segment can read all of it, and the kernel allocates a page for each slot that has none, be it dead or
 * never used. So the tmpfs is kept that small that this comes to little; what goes beyond ends in SIGBUS for who reads.
 * It hurts nobody else: what VMs are told of has been written, and so has its page.
 */
#ifndef PAGEFUSE_DAEMON_ROOM_H
#define PAGEFUSE_DAEMON_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#ifndef ROOM_STRAY_PAGES
#define ROOM_STRAY_PAGES UINT64_C(4096) /* that stray faults may take; tests build with another */
#endif
/** The size follows what is stored by so many pages at once. */
#define ROOM_STEP_PAGES UINT64_C(1024)
/** What stray faults have at most if they take what is made for writes, until they are undone. */
#define ROOM_PRESSED_PAGES (4 * ROOM_STRAY_PAGES)

struct room {
	int tree;            /* a descriptor of the tmpfs's root; -1: its size stays, and all of this does nothing */
	uint64_t size_pages; /* that it has now */
	bool pressed;        /* stray faults had taken all that a write found, or what should be given back */
};

/** Of the tmpfs at @tree, in which @stored pages are stored. -1: there is none. */
void room_open(struct room *room, int tree, uint64_t stored);
/** @stored pages are stored, or will be in a moment. */
void room_fit(struct room *room, uint64_t stored);
/** A write found no room; it has tried @attempts times again. Makes some. @return whether it is to try once more. */
bool room_press(struct room *room, uint64_t stored, unsigned attempts);
/** Stray faults have been undone. */
void room_relax(struct room *room, uint64_t stored);

#endif
