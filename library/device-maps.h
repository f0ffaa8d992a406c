/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM maps RAM for a device, which pins it. The memory lock (lock.h) is held, except during the VMM's call itself:
 * pinning a large VM takes seconds, and may wait for a fault that the VMM's own userfaultfd resolves.
 */
#ifndef PAGEFUSE_LIBRARY_DEVICE_MAPS_H
#define PAGEFUSE_LIBRARY_DEVICE_MAPS_H

#include <stdbool.h>
#include <stdint.h>

/** Before the call, with all pages unshared: they are left alone from here on. */
void device_maps_begin(uint64_t start, uint64_t length);
/** After it. Pages of a call that failed are no longer left alone, if no other call can have pinned them. */
void device_maps_end(uint64_t start, uint64_t length, bool succeeded);

#endif
