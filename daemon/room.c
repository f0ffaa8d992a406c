/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/room.h"

#include <string.h>

#include "daemon/log.h"
#include "daemon/mounts.h"

/* At first as little as one write needs: whoever reads without end takes what it leaves. */
#define PRESS_PAGES UINT64_C(16)
#define PRESS_ATTEMPTS 3u

/* Less than is in use is refused: it stays as it is then. */
static int resize(struct room *room, uint64_t pages)
{
	int r = mounts_resize(room->tree, pages);

	if (r == 0)
		room->size_pages = pages;
	return r;
}

void room_open(struct room *room, int tree, uint64_t stored)
{
	int r;

	*room = (struct room){ .tree = tree };
	if (tree < 0)
		return;
	r = resize(room, stored + ROOM_STRAY_PAGES + ROOM_STEP_PAGES);
	if (r == 0)
		return;
	log_warning("the size of a store's tmpfs cannot be changed (%s): VMs that read what is not in use of it can "
		    "make it grow to [store] size",
		    strerror(-r));
	room->tree = -1;
}

void room_fit(struct room *room, uint64_t stored)
{
	const uint64_t wanted = stored + ROOM_STRAY_PAGES + ROOM_STEP_PAGES;

	if (room->tree < 0)
		return;
	if (room->size_pages < wanted - ROOM_STEP_PAGES)
		(void)resize(room, wanted);
	else if (room->size_pages > wanted + ROOM_STEP_PAGES && !room->pressed)
		room->pressed = resize(room, wanted) < 0;
}

bool room_press(struct room *room, uint64_t stored, unsigned attempts)
{
	uint64_t size = room->size_pages + (PRESS_PAGES << (2 * attempts));

	if (room->tree < 0)
		return false;
	room->pressed = true;
	return attempts < PRESS_ATTEMPTS && size <= stored + ROOM_PRESSED_PAGES && resize(room, size) == 0;
}

void room_relax(struct room *room, uint64_t stored)
{
	room->pressed = false;
	room_fit(room, stored);
}
