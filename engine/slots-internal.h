/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What slots.c and stripes.c need of each other. */
#ifndef PAGEFUSE_ENGINE_SLOTS_INTERNAL_H
#define PAGEFUSE_ENGINE_SLOTS_INTERNAL_H

#include "engine/slots.h"

/** Hands out @count offsets, less at a segment's end. @return 0 or -errno. */
int slots_hand_out(struct slots *slots, uint32_t count, struct slot_window *ret);
/** Takes the next offset of @window into use. */
uint32_t slots_take(struct slots *slots, struct slot_window *window, struct table_key key, enum slot_state state);
/** Counts a slot's memory against @owner's limit; whether the limit allows one more. */
void slots_charge(struct slots *slots, struct slot *slot, uint16_t owner);
bool slots_may_charge(const struct slots *slots, uint16_t owner);
/** Removes the table's entry if it names this slot. */
void slots_unlink(struct slots *slots, uint32_t number);
/** A slot that nobody holds and that is not linked: dead from here on. @written: it has memory to be freed. */
void slots_kill(struct slots *slots, uint32_t number, bool written);
/** A stripe's member has lost its last holder. */
void stripes_release(struct slots *slots, uint32_t number);

#endif
