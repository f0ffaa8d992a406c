/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/rivals.h"

#include <stdlib.h>

#include "engine/hints.h"
#include "engine/state.h"

/* Another partition, by the table's secret; users may have it in common by chance. Pages remember the tag alone. */
static struct table_key own_key(const struct engine_vm *vm, struct table_key key)
{
	const uint64_t *secret = vm->engine->table.secret;
	uint64_t of_user = table_fold((uint64_t)(uintptr_t)vm->account ^ secret[0], secret[1] | 1);

	key.partition ^= 1 + of_user % (TABLE_PARTITIONS - 1);
	return key;
}

static struct rival *place_of(struct page page)
{
	struct engine_vm *vm = page.region->vm;

	if (vm->rivals == NULL)
		vm->rivals = calloc(RIVALS_SEEN, sizeof(*vm->rivals));
	return vm->rivals ? &vm->rivals[page_global(page) % RIVALS_SEEN] : NULL;
}

bool rivals_differ(struct page page, struct table_key key, struct table_key *ret_own)
{
	const struct engine_vm *vm = page.region->vm;
	struct rival *rival = place_of(page);

	if (rival == NULL)
		return false;
	if (rival->global == page_global(page) && table_key_equal(own_key(vm, rival->key), key))
		return false; /* that was its second chance */
	if (rival->global == page_global(page) && table_key_equal(rival->key, key)) {
		rival->own = true;
		*ret_own = own_key(vm, key);
		return true;
	}
	if (rival->own)
		hints_forget(vm->engine, rival->global); /* so that it is looked up under the first key again */
	*rival = (struct rival){ .global = page_global(page), .key = key };
	return false;
}

bool rivals_has(struct page page, uint32_t check)
{
	const struct engine_vm *vm = page.region->vm;
	const struct rival *rival = vm->rivals ? &vm->rivals[page_global(page) % RIVALS_SEEN] : NULL;

	return rival && rival->own && rival->global == page_global(page) && check_of(rival->key.tag) == check;
}

bool rivals_fits(const struct engine_vm *vm, struct table_key key, struct table_key wanted)
{
	return table_key_equal(key, wanted) || table_key_equal(own_key(vm, key), wanted);
}

void rivals_done(struct engine_vm *vm)
{
	free(vm->rivals);
	vm->rivals = NULL;
}
