/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the guest sees its memory: from KVM's memory slots, as the VMM sets them, and from the C API. The worker tells
 * the daemon which page numbers are at which guest physical addresses, the whole map anew after changes: slots and
 * regions come and go independently, and a map that is told as a whole cannot go wrong by and by.
 *
 * It is advice, and bounded: of slots beyond GUEST_SLOTS_MAX the daemon does not learn. A process that runs several VMs
 * has one map, in which the slots of the same number are one, the one that was set last.
 */
#ifndef PAGEFUSE_LIBRARY_GUEST_MEMORY_H
#define PAGEFUSE_LIBRARY_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_SLOTS_MAX 4096u /* QEMU has some ten, and one for each piece of memory that is plugged in */

struct session;

/**
 * KVM_SET_USER_MEMORY_REGION has succeeded: the guest sees @length bytes at @hva at @gpa, and no longer what slot @slot
 * had before; @length 0: nothing. Any thread, as memory.h has it.
 */
void guest_memory_note_slot(uint32_t slot, uint64_t gpa, const void *hva, uint64_t length);

/** The same in the C API's words, for RAM that has been added, or removed. Whole pages, @gpa + @length below 2^52. */
void guest_memory_note_ram(uint64_t gpa, const void *hva, uint64_t length);
void guest_memory_forget_ram(const void *hva);

/** Regions have come or gone, so their pages have numbers, or no longer. Any thread. */
void guest_memory_note_regions(void);

/** Worker: the daemon of a new session knows nothing. */
void guest_memory_forget_session(void);
/** Worker: tells the map if it has changed, or the rest of it, and the daemon wants it. @return 0 or -errno. */
int guest_memory_announce(struct session *session);

#endif
