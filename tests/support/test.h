/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame of a safety test: a small program with one topic that exits 0, 1 or 77 (skipped, and says why).
 *
 * A safety test has a positive control: `TEST --without PROTECTION` switches one protection of the library off
 * (library/protections.h) and must then see damage. tests/support/must-fail runs it and wants exactly that.
 *
 * Environment: PAGEFUSE_TEST_SECONDS, how long a test that works at random goes on (default 3);
 * PAGEFUSE_TEST_CONTROL_SECONDS, how long a control waits for its damage (default 600); PAGEFUSE_TEST_SEED.
 */
#ifndef PAGEFUSE_TESTS_SUPPORT_TEST_H
#define PAGEFUSE_TESTS_SUPPORT_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Whether this is a build for ThreadSanitizer, which needs several times the memory. */
#if defined(__SANITIZE_THREAD__)
#define TEST_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define TEST_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define TEST_THREAD_SANITIZER 0
#endif

/** Whether this is a build for AddressSanitizer. */
#if defined(__SANITIZE_ADDRESS__)
#define TEST_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#define TEST_ADDRESS_SANITIZER __has_feature(address_sanitizer)
#else
#define TEST_ADDRESS_SANITIZER 0
#endif

/**
 * Seconds of test_patient_msec() after which a wait is over, and the test has failed. What is waited for is a matter of
 * moments, but not on a host that has much else to do, so these are many.
 */
#define TEST_PATIENCE_SECONDS 300

/** So many times longer is a wait at most, where the host has no CPU to spare. */
#define TEST_PATIENCE_FACTOR 4

/** How often a wait looks at the clock. */
#define TEST_LOOK_MSEC 1000

/** The same where the verdict is damage: fewer in a control, which waits for that. */
#define TEST_DEADLINE_SECONDS (test_is_control() ? 5 : TEST_PATIENCE_SECONDS)

/**
 * Begins a test: reads --without, sets the seed and prints it, starts the clock of test_running(), and a watchdog that
 * fails the test when it is still running long after that. @return arguments left in @argv, from 1 on.
 */
int test_begin(int argc, char **argv);

/** Whether one of the arguments left by test_begin() is @word. */
bool test_wants(const char *word);

/** Whether this is a control: a protection is off. */
bool test_is_control(void);

/**
 * In a control, has the protection on (and it is none, for now) or off again. For those that need a kernel that does
 * wrong: with the protection on they wait to see that it does, and skip if it does not; only then they go without.
 */
void test_protect(bool on);

/** Whether a test that works at random should go on. */
bool test_running(void);

/** Gives the watchdog and test_running() their full time once more: after a long preparation, and in a child. */
void test_restart_clock(void);

/** Gives the watchdog its full time once more: something has been achieved. Its only system call is alarm(). */
void test_progress(void);

/** Has @clean_up (one at most) called when this process ends by one of the four below, the watchdog, or a signal. */
void test_at_end(void (*clean_up)(void));

/** The guest's memory is not right, or somebody sleeps for ever: what a protection is there to prevent. Exits 1. */
_Noreturn void test_damage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Anything else that is not as it should be. Exits 1. */
_Noreturn void test_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Ends as a child did, which has said why. @status is as from waitpid(). */
_Noreturn void test_end_as(int status);
/** This machine cannot run the test. Exits 77. */
_Noreturn void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define test_check(condition, ...) \
	do { \
		if (!(condition)) \
			test_fail(__VA_ARGS__); \
	} while (0)

/** Where temporary files go: $TMPDIR, or /tmp. */
const char *test_folder(void);

/** Skips the test on a kernel that cannot move pages by userfaultfd (before Linux 6.8): nothing is shared there. */
void test_needs_moves(void);

/** A pseudo random number; each thread brings its own @state, from test_seed(). */
uint64_t test_random(uint64_t *state);
/** A state for thread or topic @which, derived from the test's seed. */
uint64_t test_seed(uint64_t which);

/**
 * Keeps this thread, and those that it starts, on one of two CPUs: @which is 0 or 1; in a control also before what else
 * runs there, so that two threads meet often. Skips where there is one CPU only. The first call is the main thread's.
 */
void test_pin(unsigned which);

/** Monotonic clock. */
uint64_t test_now_msec(void);

/**
 * The clock of deadlines: goes slower, by up to TEST_PATIENCE_FACTOR, while threads of the host wait for a CPU (PSI).
 * In a control, which waits for damage, it is test_now_msec(). From any thread and signal handler.
 */
uint64_t test_patient_msec(void);

/** Waits until @fd can be read or its other end is gone. @return false after TEST_DEADLINE_SECONDS. */
bool test_readable(int fd);

/** pthread_join() with a deadline. @return false after TEST_DEADLINE_SECONDS. */
bool test_join(pthread_t thread);

/** Whether a thread of this process (gettid()) sleeps, as opposed to one that gets no CPU. */
bool test_thread_sleeps(int tid);

/** waitpid() with a deadline. @return the wait status; a child that does not end is killed, and that is damage. */
int test_wait_child(int pid);
/** The same of one that has to exit with 0. A signal's end is damage; who ended otherwise has said why himself. */
void test_end_child(int pid);

/** fork() for a child that is killed when this thread ends, with a watchdog of its own. */
int test_fork(void);

/** mlock() and munlock(), which sanitizers replace by nothing. An error fails the test. */
void test_lock_memory(void *address, size_t length);
void test_unlock_memory(void *address, size_t length);

#endif
