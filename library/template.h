/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings of the store to take mappings from that count as written to.
 *
 * A core holds a private mapping of a file whole if it was ever written to, and not at all otherwise (as long as bit 2
 * of /proc/PID/coredump_filter is off). Guest RAM was anonymous, so a core has it; and it has to have what became
 * shared, too. So a segment is mapped once more here and one page of it written, which is dropped again; what is split
 * off from this mapping by mremap() goes on counting as written to.
 *
 * Worker thread, memory lock held; template_forget() in the child of a fork.
 */
#ifndef PAGEFUSE_LIBRARY_TEMPLATE_H
#define PAGEFUSE_LIBRARY_TEMPLATE_H

#include <stdint.h>

#define TEMPLATES_MAX 4u

/**
 * Where @slot and those behind it in its segment are mapped privately, readable and writable, DONTFORK and DONTDUMP, so
 * that MREMAP_DONTUNMAP makes mappings of the same kind of it. Takes some 10 µs if its segment was not one of the last
 * that were asked for. @return 0 if there is no room for it: the VMM has a limit on its memory, or the kernel has none.
 */
uint64_t template_at(uint32_t slot);

/** Unmaps that of a segment whose descriptor is about to be closed; of all. What was split off stays. */
void template_drop(uint32_t segment);
void template_drop_all(void);
/** In the child of a fork, which has not inherited them. */
void template_forget(void);

#endif
