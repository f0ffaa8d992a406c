/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame of the tests of interposed calls: memory that is ours and memory that is not, the calls made with the libc
 * function or with syscall() and its number, and what the recorder must have seen. Every test runs once each way.
 */
#ifndef PAGEFUSE_TESTS_PRELOAD_CALLS_H
#define PAGEFUSE_TESTS_PRELOAD_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/page.h"
#include "tests/preload/recorder.h"

#define PAGES 8
#define BYTES (PAGES * PAGE_BYTES)
#define ERRNO_BEFORE 4242 /* errno when a test begins; a call that succeeds leaves it so */

extern bool by_number;
extern char *ram;   /* BYTES, ours, full of 'r' */
extern char *other; /* BYTES, not ours, full of 'o' */

int calls_set_up(void **state);
int calls_tear_down(void **state);
#define CALL_TEST(test) cmocka_unit_test_setup_teardown(test, calls_set_up, calls_tear_down)

/** Runs an array of CALL_TEST() by name, then by number. @return main()'s result. */
#define calls_run(tests) calls_run_tests(tests, sizeof(tests) / sizeof(*(tests)))
int calls_run_tests(const struct CMUnitTest *tests, size_t count);

/** The library has been told nothing. */
void expect_nothing(void);
/** Records @at and the next are this change's begin and end. */
void expect_bracket_at(unsigned at, enum memory_change change, void *address, size_t length, int detail,
		       bool succeeded);
/** This change's begin and end are all there is; they are used up. */
void expect_bracket(enum memory_change change, void *address, size_t length, int detail, bool succeeded);
void expect_success(long result);
void expect_failure(long result, int error);

int call_madvise(void *address, size_t length, int advice);
ssize_t call_process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice);
void *call_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset);
int call_munmap(void *address, size_t length);
void *call_mremap(void *old, size_t old_length, size_t new_length, int flags, void *new_address);
int call_mprotect(void *address, size_t length, int prot);
int call_pkey_mprotect(void *address, size_t length, int prot, int pkey);

#endif
