/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that play a guest: they write memory all the time, remember every byte in a shadow copy, and end the test as
 * soon as they read anything else. Every page belongs to one thread, which alone writes it; the others read it now and
 * then without judging, so that several threads can sleep on one page.
 *
 * A thread works on a few neighbouring pages for a while and then moves on, so that most pages stand still and can be
 * shared, and any page may be written at the moment when it is being shared.
 */
#ifndef PAGEFUSE_TESTS_SUPPORT_WRITERS_H
#define PAGEFUSE_TESTS_SUPPORT_WRITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WRITERS_MAX 16

/** How bytes get into memory. One instance per thread. */
struct writer_method {
	const char *name;
	size_t bytes; /* of each write, a power of two from 8 to 4096; addresses are aligned to it */
	/** Thread @which begins. @return its context. */
	void *(*begin)(unsigned which);
	/** Makes the @length bytes at @to equal to those at @from, by whatever way; done when it returns. */
	void (*write)(void *context, void *to, const void *from, size_t length);
	void (*end)(void *context);
};

/** Plain stores of eight bytes. */
extern const struct writer_method writer_stores;

struct writers_plan {
	void *memory;
	size_t pages;
	unsigned threads;
	/** NULL: writer_stores. */
	const struct writer_method *method;
	/** Now and then a thread discards a page of its own, and tells the library. */
	bool discards;
	/** Now and then a thread makes a page of its own read-only and writable again, and tells the library. */
	bool protects;
	/**
	 * Now and then a thread tells the library that a few pages from one of its own on are about to be read into.
	 */
	bool reads;
	/** Writes change nothing: pages diverge, and still hold what they held at first. */
	bool same_bytes;
	/** Writes put a page's old bytes back soon, so that it often equals what it was fetched as. */
	bool flickers;
};

struct writers;

/** Fills the memory, each page with content of its own except for every eighth, which is zero; no thread runs yet. */
struct writers *writers_new(const struct writers_plan *plan);
void writers_start(struct writers *writers);
/** To be called often: a thread that has written nothing for TEST_DEADLINE_SECONDS is damage. */
void writers_check_awake(struct writers *writers);
/** Ends the threads and checks every byte. @return number of writes. */
uint64_t writers_stop(struct writers *writers);
void writers_free(struct writers *writers);

/** A page that some thread is writing right now, counted from 0. */
size_t writers_hot_page(const struct writers *writers, uint64_t *random);

#endif
