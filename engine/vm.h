/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a VM: it comes, its regions come and go, its connection is lost, it ends. What the daemon calls of that
 * is in engine.h.
 */
#ifndef PAGEFUSE_ENGINE_VM_H
#define PAGEFUSE_ENGINE_VM_H

#include <stdint.h>

struct engine_vm;

/**
 * Adds a region of @pages pages that begins at page number @page, @before pages behind a place where a 2 MiB page
 * begins. One beyond the limits is only noted, and nothing is
 * ever ordered for it. @return 0, -EPROTO if the numbers are not new, -ENOMEM.
 */
int vm_add_region(struct engine_vm *vm, uint32_t page, uint64_t pages, uint32_t before);
/**
 * Removes the region that begins at page number @page, with all that its pages hold. @return 0, -EPROTO: there is
 * none.
 */
int vm_remove_region(struct engine_vm *vm, uint32_t page);
/** Frees the memory that @vm takes here, and changes nothing else: for the end of the whole engine. NULL, too. */
void vm_free(struct engine_vm *vm);

#endif
