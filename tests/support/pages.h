/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory for tests: making it, filling it so that every page can be told, and what the kernel says of it. */
#ifndef PAGEFUSE_TESTS_SUPPORT_PAGES_H
#define PAGEFUSE_TESTS_SUPPORT_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/page.h"

#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))

/** A private anonymous mapping, 2 MiB aligned; @huge: with MADV_HUGEPAGE, else MADV_NOHUGEPAGE. Never NULL. */
void *pages_map(size_t count, bool huge);

/** The word that belongs at @word of a page filled with @content; content 0 is a page of zeros. */
static inline uint64_t pages_word(uint64_t content, size_t word)
{
	return content == 0 ? 0 : (content * UINT64_C(0x9e3779b97f4a7c15)) ^ (word * UINT64_C(0xff51afd7ed558ccd));
}

/*
 * The worker reads what a guest writes, and that on purpose. To ThreadSanitizer each such word is a race, and telling
 * takes it long, also where it is not to tell; atomic accesses it sees even in a function that it is not to look at. So
 * this is how tests access memory as a guest does: one word, at once, in no order.
 */
#define PAGES_AS_A_GUEST __attribute__((no_sanitize("thread")))

PAGES_AS_A_GUEST static inline void pages_store(volatile uint64_t *word, uint64_t value)
{
	*word = value;
}

PAGES_AS_A_GUEST static inline uint64_t pages_load(const volatile uint64_t *word)
{
	return *word;
}

/** Fills one page. */
void pages_fill(void *page, uint64_t content);

/** @return the first word of the page that is not that of @content, or -1 if all are right. */
long pages_differ(const void *page, uint64_t content);

/** What physical page is at @address in this process: its number; 0 if none is present. Skips the test if not root. */
uint64_t pages_frame(const void *address);

/** The same, but 0 for the kernel's own page of zeros, too: what takes no memory. */
uint64_t pages_frame_of_content(const void *address);

/** As pages_frame() in process @pid. */
uint64_t pages_frame_in(pid_t pid, const void *address);

/** Whether the page at @address is mapped from a file, and not a private copy. */
bool pages_is_file(const void *address);

/** A field of /proc/meminfo or of /proc/self/smaps_rollup ("AnonPages:", "Pss_Anon:"), in bytes. */
uint64_t pages_meminfo(const char *field);
uint64_t pages_rollup(const char *field);

/** Bytes that the kernel counts as pinned by this process. From 7.2 on it does not count what io_uring pins. */
uint64_t pages_pinned(void);

/** Bytes of anonymous memory that this process has between @address and @address + @length. */
uint64_t pages_anonymous(const void *address, size_t length);

/** Whether the mapping at @address has this flag among the "VmFlags:" of smaps: "hg", "nh", ... */
bool pages_has_flag(const void *address, const char *flag);

/** What a VMM does that fetches missing pages from elsewhere. @return false if a page is there, and stays as it is. */
bool pages_fill_missing(void *address, uint64_t content);

/**
 * Whether empty memory that is read takes none: the kernel maps one page of zeros for all. Some kernels have none
 * (mm_forbids_zeropage(), pvm_no_zero_page).
 */
bool pages_read_empty(void);

/** Number of mappings of this process. */
unsigned pages_mappings(void);

#endif
