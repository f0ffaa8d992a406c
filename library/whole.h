/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks that were broken for sharing, and are kept from collapsing since, may be 2 MiB pages again. */
#ifndef PAGEFUSE_LIBRARY_WHOLE_H
#define PAGEFUSE_LIBRARY_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"

/**
 * Gives pages [page, page+count), what a region has of one block, the setting for 2 MiB pages again that the VMM has
 * made for its region, if no more than @most of them are shared or zero; these get memory of their own then. @collapse:
 * and has the kernel make a 2 MiB page of them, if all of it is there; that takes it a copy of 2 MiB, and whoever
 * touches them waits meanwhile. Worker thread, memory lock held. @return what has become of them.
 */
enum ring_whole whole_give_back(uint32_t page, unsigned count, unsigned most, bool collapse);

#endif
