/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of random bytes by which the host proves where this guest's memory is in the VMM. */
#ifndef PAGEFUSE_AGENT_BEACONS_H
#define PAGEFUSE_AGENT_BEACONS_H

#include "agent/iomem.h"

#define BEACONS 2 /* one below and one above 4 GiB */

struct beacons {
	void *pages[BEACONS]; /* NULL: none */
	uint64_t pfns[BEACONS];
};

/**
 * Makes one below and one above 4 GiB, where @iomem has RAM and the kernel hands out such a page within some hundred.
 * They are locked. @return how many there are, -errno.
 */
int beacons_make(struct beacons *beacons, const struct iomem *iomem, int pagemap);

void beacons_drop(struct beacons *beacons, unsigned which);
void beacons_drop_all(struct beacons *beacons);

#endif
