/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Positive controls. Each safety of the library has a name here. In test builds (-DPAGEFUSE_TEST_CONTROLS) a test can
 * switch one off and must then see the damage that it prevents; in all other builds PROTECTED() is constant.
 */
#ifndef PAGEFUSE_LIBRARY_PROTECTIONS_H
#define PAGEFUSE_LIBRARY_PROTECTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum protection {
	PROTECT_JUDGE_BY_PAGEMAP = 1 << 0,  /* the scratch's pagemap, not UFFDIO_MOVE's result, shows what was moved */
	PROTECT_COMPARE = 1 << 1,           /* all bytes are compared while held */
	PROTECT_MMAP_LOCK_BARRIER = 1 << 2, /* a write section of the mmap lock between move and compare */
	PROTECT_PIN_TEST = 1 << 3,          /* diverged pages are merged only if there can be no pin */
	PROTECT_MOVE_BACK = 1 << 4,         /* pages that differ are moved back (UFFDIO_COPY if that fails for good) */
	PROTECT_DISCARD = 1 << 5,           /* anonymous memory is put back before a discard */
	/** Only PRESENT and not FILE means diverged. */
	PROTECT_SWAPPED_PROVES_NOTHING = 1 << 6,
	/** No hold is in flight during fork, references are kept while children live. */
	PROTECT_FORK = 1 << 7,
	PROTECT_RESERVE = 1 << 8,     /* mappings are reserved for the VMM */
	PROTECT_WAKE = 1 << 9,        /* waiters are woken after every hold */
	PROTECT_EBUSY = 1 << 10,      /* pages that the kernel refuses to move are left alone */
	PROTECT_POKES = 1 << 11,      /* the worker never misses a poke, and no poke keeps it awake */
	PROTECT_OPEN_FORK = 1 << 12,  /* the lock is not held while the VMM's fork handlers run */
	PROTECT_SIGNALS = 1 << 13,    /* no signal handler runs in a thread that has the lock */
	PROTECT_CUT_CALLS = 1 << 14,  /* a child sees whether a call that the fork cut in two had been made */
	PROTECT_HELD_COPY = 1 << 15,  /* a page is not written while a copy replaces it */
	PROTECT_REFERENCES = 1 << 16, /* nothing is held while I/O may have plain references */
	/** Zeros given back are pages again before the VMM can see which pages are missing. */
	PROTECT_ZEROS_SHOWN = 1 << 17,
	PROTECT_CORES = 1 << 18, /* shared pages are in the core dump of a VMM that crashes */
	/** A VMM that was found to discard memory unseen shares nothing any more. */
	PROTECT_UNSEEN_CALLS = 1 << 19,
	/** If mappings are scarce, more of the run is taken out of the store together with a page. */
	PROTECT_WIDEN = 1 << 20,
	PROTECT_SCRATCH_OPEN = 1 << 21, /* a thread that touches an empty page of the scratch does not sleep */
	PROTECT_OWN_UNLOCKED = 1 << 22, /* mlockall() neither locks nor populates the library's own mappings */
	PROTECT_BOTH_ENDS = 1 << 23,    /* a page counts as moved if its own place is empty, too */
	PROTECT_LOCK_LET_GO = 1 << 24,  /* the memory lock is not held while the VMM locks memory */
	/** A number of the library's is used only while it leads to the library's file. */
	PROTECT_OWN_FILES = 1 << 25,
	PROTECT_TRANSFERS = 1 << 26,   /* pages that a system call is reading or writing are not held */
	PROTECT_CONFINEMENT = 1 << 27, /* no call is made under a system call filter that does not let it through */
	/** A hold that has unmapped pages replaces them, whatever fails and whatever the VMM closes. */
	PROTECT_PLACE = 1 << 28,
	/** No copy replaces a page while a read into it may be under way. */
	PROTECT_READS_NOTED = 1 << 29,
	/** Before a read that covers a page, no copy replaces it if it may be pinned for longer than the read. */
	PROTECT_LASTING_PINS = 1 << 30,
	/** Only a block without shared or zero pages may become a 2 MiB page again, and it is not changed meanwhile. */
	PROTECT_WHOLE = UINT64_C(1) << 31,
	/** After the userfaultfd had to be closed, none of the runs that are held together is mapped. */
	PROTECT_REOPENED = UINT64_C(1) << 32,
	PROTECT_TORN = UINT64_C(1) << 33, /* memory that was given away from a template is not taken again */
	/** A file whose state cannot be read counts as the worst that it may be. */
	PROTECT_UNTOLD = UINT64_C(1) << 34,
	/** A discard drops nothing that lies behind memory that the kernel refuses to discard. */
	PROTECT_IN_ORDER = UINT64_C(1) << 35,
	PROTECT_READ_FILES = UINT64_C(1) << 36, /* a file is looked at before pages of the store are read into */
};

#ifdef PAGEFUSE_TEST_CONTROLS
extern uint64_t protections_off; /* set by the test while the worker is idle */
#define PROTECTED(which) ((protections_off & (which)) == 0)
extern bool hold_length_stays;  /* set by a test that has to know how many pages are held at once, on any machine */
extern bool closing_is_awaited; /* set by a test: waits without a limit, for slow machines */
#else
#define PROTECTED(which) true
#define hold_length_stays false
#define closing_is_awaited false
#endif

#endif
