/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store of a simulation: it sees to it that the engine uses only what is there, and punches nothing twice. */
#ifndef PAGEFUSE_TESTS_ENGINE_SIMULATION_STORE_H
#define PAGEFUSE_TESTS_ENGINE_SIMULATION_STORE_H

#include "tests/engine/simulation.h"

/** What @sim's engine is to use. */
struct engine_store sim_store(struct sim *sim);
void sim_segment_drop(struct sim_segment *segment);
/** Whether a slot is there, and has content. */
bool sim_has_slot(struct sim *sim, uint32_t slot);
/** And whether that is @content. */
bool sim_slot_holds(struct sim *sim, uint32_t slot, uint32_t content);

/** Notes what went wrong first. */
void sim_wrong(struct sim *sim, const char *what);

#endif
