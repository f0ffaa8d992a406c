/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a VM: it comes, its regions come and go, its connection is lost, it ends. What the daemon calls of that
 * is in engine.h.
 */
#ifndef PAGEFUSE_ENGINE_VM_H
#define PAGEFUSE_ENGINE_VM_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct engine_vm;

/**
 * Adds a region of @pages pages that begins at page number @page, @before pages behind a place where a 2 MiB page
 * begins. One beyond the limits is only noted, and nothing is ordered for it, unless there are numbers for it after a
 * sweep. @return 0, -EPROTO if its page numbers are not new, -ENOMEM.
 */
int vm_add_region(struct engine_vm *vm, uint32_t page, uint64_t pages, uint32_t before);
/**
 * Removes the region that begins at page number @page, with all that its pages hold. @return 0, -EPROTO: there is
 * none.
 */
int vm_remove_region(struct engine_vm *vm, uint32_t page);
/** There are numbers that others have had: regions that wait for some are to be tried again. */
void vm_retry_regions(struct engine *engine);
/**
 * Tries the next one of these, of *@ret_vm. *@ret_page: the page at which it begins, or 0 if it has to wait still, or
 * is left alone. @return false: none is to be tried.
 */
bool vm_retry_region(struct engine *engine, struct engine_vm **ret_vm, uint32_t *ret_page);
/** Frees the memory that @vm takes here, and changes nothing else: for the end of the whole engine. NULL, too. */
void vm_free(struct engine_vm *vm);

#endif
