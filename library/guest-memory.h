/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the guest sees its memory: from KVM's memory slots, as the VMM sets them, and from the C API. The worker tells
 * the daemon which page numbers are at which guest physical addresses. After changes it sends the whole map again:
 * slots and regions come and go independently, and a map that is sent as a whole cannot go wrong over time.
 *
 * The map is advice, and bounded: the daemon does not learn of slots beyond GUEST_SLOTS_MAX. A process that runs
 * several VMs has one map, in which slots with the same number are one slot, as it was set last.
 */
#ifndef PAGEFUSE_LIBRARY_GUEST_MEMORY_H
#define PAGEFUSE_LIBRARY_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_SLOTS_MAX 4096u /* QEMU has some ten, and one for each hot-plugged piece of memory */

struct session;

/**
 * KVM_SET_USER_MEMORY_REGION has succeeded: the guest sees @length bytes at @hva at @gpa, and no longer the memory that
 * slot @slot had before; @length 0: no memory. Any thread, under the rules of memory.h.
 */
void guest_memory_note_slot(uint32_t slot, uint64_t gpa, const void *hva, uint64_t length);

/** The same for RAM that was added or removed by the C API. Whole pages, @gpa + @length below 2^52. */
void guest_memory_note_ram(uint64_t gpa, const void *hva, uint64_t length);
void guest_memory_forget_ram(const void *hva);

/** Regions have come or gone, so the numbers of their pages have, too. Any thread. */
void guest_memory_note_regions(void);

/** Worker: the daemon of a new session knows nothing. */
void guest_memory_forget_session(void);
/** Worker: sends the map if it has changed, and the daemon wants it. @return 0 or -errno. */
int guest_memory_announce(struct session *session);

#endif
