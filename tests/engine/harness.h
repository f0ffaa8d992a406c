/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of single behaviours share: one simulation each, checked when it ends. */
#ifndef PAGEFUSE_TESTS_ENGINE_HARNESS_H
#define PAGEFUSE_TESTS_ENGINE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/engine/simulation.h"

#define SECOND UINT64_C(1000000)

extern struct sim sim;

int setup(void **state);
int teardown(void **state);
#define ENGINE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/** Gives @vm, which is new, @pages pages with contents @first, @first + @step, ..., and connects it. */
void connect_filled(struct sim_vm *vm, uint32_t pages, uint32_t first, uint32_t step);
/** Such a VM, in the mode full. */
struct sim_vm *new_vm(uint32_t pages, uint32_t first, uint32_t step);
/** The engine's counters of a VM, and of all. */
uint64_t shared_of(const struct sim_vm *vm);
struct engine_counters host(void);
/** Lets everybody work for so long. */
void run_for(uint64_t seconds);
uint64_t hash_of(uint32_t content);
/** Reports in a VM's name. */
int report(struct sim_vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value);
/** Throws away what waits to be taken. */
void drop_orders(struct sim_vm *vm);
/** Takes orders until there is one of kind @op. @return whether there was. */
bool next_order(struct sim_vm *vm, uint8_t op, struct ring_record *ret);
/** Starts again with sim.settings as changed, and nothing in the store. */
void restart_with_settings(void);

#endif
