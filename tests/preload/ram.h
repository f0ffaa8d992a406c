/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame of the tests of what calls do to RAM: RAM that is partly shared, the calls over it as a VMM makes them, and
 * what its bytes, the director's books and the kernel must say then.
 */
#ifndef PAGEFUSE_TESTS_PRELOAD_RAM_H
#define PAGEFUSE_TESTS_PRELOAD_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/director.h"
#include "tests/support/pages.h"

#define PAGES 64u

/** RAM of the guest's, a region of its own, and what each page must read. */
struct ram {
	char *memory;
	uint32_t page; /* number of the first */
	uint64_t contents[PAGES];
};

enum way {
	BY_NAME,   /* with libc's functions */
	BY_NUMBER, /* with syscall() */
	PAST,      /* past the preload */
};

extern enum way way;
extern struct director *director;
extern struct director_vm *vm; /* this process, from the first region on */

/** A system call, in that way. @return -1 and errno if it fails. */
long ram_call(long number, void *address, size_t length, long c, long d, long e, long f);
/** madvise() of pages, which has to succeed. */
void ram_advise(const struct ram *ram, uint32_t first, uint32_t count, int advice);

static inline void *ram_at(const struct ram *ram, uint32_t index)
{
	return ram->memory + index * PAGE_BYTES;
}

/** Maps RAM, offers and shares it. */
void ram_begin(struct ram *ram);
/** The RAM goes, and nothing of the store stays in use. */
void ram_end(const struct ram *ram);
/** For director_wait_until(): no region is left. */
bool ram_is_gone(const struct director_vm *of, void *unused);
/** What begin does after mapping: offers it by MADV_MERGEABLE, whatever the way; and shares most of it. */
void ram_offer(struct ram *ram);
void ram_share(struct ram *ram);
void ram_write_page(struct ram *ram, uint32_t i, uint64_t content);

/** Every page reads what it must; @when is for the message. */
void ram_check(const struct ram *ram, const char *when);
/** The books agree that [first, first+count) is not shared any more, and the kernel does. */
void ram_expect_private(const struct ram *ram, uint32_t first, uint32_t count);
/** The director asks for these pages and gets none. */
void ram_expect_left_alone(const struct ram *ram, uint32_t first, uint32_t count);
void ram_expect_sharing_again(const struct ram *ram, uint32_t first, uint32_t count);

/** locks.c: mlock() and its kin, by name or by number. */
void test_locks(void);

#endif
