/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Contents that have the hash of another one. By chance there are none; but VMMs know the seed of their domain, so one
 * can make a page with the hash of a content that it guesses, and have it be what others are compared with.
 *
 * So a page that is refused twice as its content differs from that of the same key, and was seen to have the same hash
 * in between, is looked up once more, under a key that is its user's own: only his VMs enter anything there. What is
 * under the first key stays there, and is tried first in each pass.
 */
#ifndef PAGEFUSE_ENGINE_RIVALS_H
#define PAGEFUSE_ENGINE_RIVALS_H

#include "engine/pages.h"
#include "engine/table.h"

#ifndef RIVALS_SEEN
#define RIVALS_SEEN 4096u /* pages of a VM; two at a distance of this displace each other; tests build with another */
#endif

struct engine_vm;

/** A page that differed from what is under a key. */
struct rival {
	uint32_t global; /* its number; 0: none */
	struct table_key key;
	bool own; /* it was looked up under its user's own, too */
};

/** @page, private, differs from a slot under @key. @return whether it is to be matched under *@ret_own now. */
bool rivals_differ(struct page page, struct table_key key, struct table_key *ret_own);
/** Whether @page, whose content has the checksum @check, may be entered under a key of its user's own. */
bool rivals_has(struct page page, uint32_t check);
/** Whether a content of @vm under @key is also one under @wanted: the same, or its user's own. */
bool rivals_fits(const struct engine_vm *vm, struct table_key key, struct table_key wanted);
/** @vm is gone. */
void rivals_done(struct engine_vm *vm);

#endif
