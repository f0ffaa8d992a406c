/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "library/kernel.h"
#include "library/protections.h"

static const struct {
	const char *name;
	enum protection which;
} protections[] = {
	{ "judge-by-pagemap", PROTECT_JUDGE_BY_PAGEMAP },
	{ "compare", PROTECT_COMPARE },
	{ "mmap-lock-barrier", PROTECT_MMAP_LOCK_BARRIER },
	{ "pin-test", PROTECT_PIN_TEST },
	{ "held-copy", PROTECT_HELD_COPY },
	{ "references", PROTECT_REFERENCES },
	{ "move-back", PROTECT_MOVE_BACK },
	{ "discard", PROTECT_DISCARD },
	{ "swapped-proves-nothing", PROTECT_SWAPPED_PROVES_NOTHING },
	{ "fork", PROTECT_FORK },
	{ "open-fork", PROTECT_OPEN_FORK },
	{ "signals", PROTECT_SIGNALS },
	{ "cut-calls", PROTECT_CUT_CALLS },
	{ "reserve", PROTECT_RESERVE },
	{ "wake", PROTECT_WAKE },
	{ "ebusy", PROTECT_EBUSY },
	{ "pokes", PROTECT_POKES },
	{ "own-files", PROTECT_OWN_FILES },
	{ "transfers", PROTECT_TRANSFERS },
	{ "widen", PROTECT_WIDEN },
	{ "unseen-calls", PROTECT_UNSEEN_CALLS },
	{ "cores", PROTECT_CORES },
	{ "zeros-shown", PROTECT_ZEROS_SHOWN },
	{ "scratch-open", PROTECT_SCRATCH_OPEN },
	{ "own-unlocked", PROTECT_OWN_UNLOCKED },
	{ "lock-let-go", PROTECT_LOCK_LET_GO },
	{ "confinement", PROTECT_CONFINEMENT },
	{ "both-ends", PROTECT_BOTH_ENDS },
	{ "place", PROTECT_PLACE },
	{ "reads-noted", PROTECT_READS_NOTED },
	{ "lasting-pins", PROTECT_LASTING_PINS },
	{ "whole", PROTECT_WHOLE },
	{ "reopened", PROTECT_REOPENED },
	{ "torn", PROTECT_TORN },
	{ "untold", PROTECT_UNTOLD },
	{ "in-order", PROTECT_IN_ORDER },
	{ "read-files", PROTECT_READ_FILES },
};

static const int interrupting[] = { SIGINT, SIGTERM, SIGHUP };
static char **words;
static uint64_t seed;
static uint64_t end_msec;
static unsigned watchdog_seconds, watchdog_rounds;
static void (*at_end)(void);
static pid_t at_end_of;

void test_at_end(void (*clean_up)(void))
{
	at_end_of = getpid();
	at_end = clean_up;
}

/** Other threads may be asleep, so no handlers of exit(). Also called by a signal handler. */
static _Noreturn void end_now(int status)
{
	if (at_end != NULL && at_end_of == getpid())
		at_end();
	_exit(status);
}

__attribute__((format(printf, 3, 0))) static _Noreturn void end(int status, const char *kind, const char *format,
								va_list arguments)
{
	char text[1024];
	int length = snprintf(text, sizeof(text), "%s: ", kind);
	ssize_t written;

	// NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is initialized
	length += vsnprintf(text + length, sizeof(text) - 1 - (size_t)length, format, arguments);
	if (length > (int)sizeof(text) - 2)
		length = (int)sizeof(text) - 2;
	text[length++] = '\n';
	written = write(STDERR_FILENO, text, (size_t)length);
	(void)written;
	end_now(status);
}

void test_damage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	end(1, "damage", format, arguments);
}

void test_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	end(1, "failed", format, arguments);
}

void test_skip(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	end(77, "skipped", format, arguments);
}

void test_end_as(int status)
{
	end_now(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/**
 * Reads a number from the host's PSI, of threads that waited for a CPU. Also called by a signal handler. @return it
 * without its fraction, or 0: the kernel does not say.
 */
static uint64_t waited_for_cpu(const char *field)
{
	char text[256], *value;
	int fd = open("/proc/pressure/cpu", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (size <= 0)
		return 0;
	text[size] = 0;
	value = strstr(text, field); /* in the line "some", which comes first */
	return value != NULL ? strtoull(value + strlen(field), NULL, 10) : 0;
}

/** Once more where CPUs were short in a quarter of the last five minutes. */
static void watchdog(int number)
{
	static const char text[] = "damage: the test does not come on: a thread sleeps, or waits in vain\n";
	ssize_t written;

	(void)number;
	if (!test_is_control() && ++watchdog_rounds < TEST_PATIENCE_FACTOR && waited_for_cpu("avg300=") >= 25) {
		alarm(watchdog_seconds);
		return;
	}
	written = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)written;
	end_now(1);
}

/** Somebody ends the test: what it has made goes first. */
static void interrupted(int number)
{
	if (at_end != NULL && at_end_of == getpid())
		at_end();
	signal(number, SIG_DFL);
	raise(number);
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL && *text != 0 ? strtoull(text, NULL, 0) : otherwise;
}

const char *test_folder(void)
{
	const char *folder = getenv("TMPDIR");

	return folder != NULL && *folder == '/' ? folder : "/tmp";
}

static void switch_off(const char *name)
{
	for (size_t i = 0; i < sizeof(protections) / sizeof(*protections); i++) {
		if (strcmp(protections[i].name, name) == 0) {
			protections_off |= protections[i].which;
			return;
		}
	}
	test_fail("no protection is called '%s'", name);
}

int test_begin(int argc, char **argv)
{
	int left = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--without") != 0)
			argv[left++] = argv[i];
		else if (++i < argc)
			switch_off(argv[i]);
	}
	argv[left] = NULL;
	words = argv;
	setenv("PAGEFUSE_SECCOMP", "64", 0); /* what the tests run under, or put on themselves past the preload */
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		test_fail("getrandom: %s", strerror(errno));
	seed = environment("PAGEFUSE_TEST_SEED", seed & UINT32_MAX);
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	signal(SIGALRM, watchdog);
	for (size_t i = 0; i < sizeof(interrupting) / sizeof(*interrupting); i++)
		signal(interrupting[i], interrupted);
	test_restart_clock();
	test_patient_msec(); /* while there are descriptors */
	return left;
}

bool test_wants(const char *word)
{
	for (char **w = words + 1; *w != NULL; w++)
		if (strcmp(*w, word) == 0)
			return true;
	return false;
}

bool test_is_control(void)
{
	return protections_off != 0;
}

void test_protect(bool on)
{
	static uint64_t off;

	if (on)
		off |= protections_off;
	protections_off = on ? 0 : off;
}

void test_restart_clock(void)
{
	uint64_t seconds = test_is_control() ? environment("PAGEFUSE_TEST_CONTROL_SECONDS", 600)
					     : environment("PAGEFUSE_TEST_SECONDS", 3);

	end_msec = test_now_msec() + seconds * 1000;
	watchdog_seconds = (unsigned)seconds + 2 * (unsigned)TEST_DEADLINE_SECONDS;
	test_progress();
}

void test_progress(void)
{
	watchdog_rounds = 0;
	alarm(watchdog_seconds);
}

bool test_running(void)
{
	return test_now_msec() < end_msec;
}

void test_needs_moves(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	bool known = fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;

	if (fd >= 0)
		close(fd);
	/* What else may be in the way is for the test to say. */
	if (known && (api.features & UFFD_FEATURE_MOVE) == 0)
		test_skip("this kernel cannot move pages by userfaultfd");
}

uint64_t test_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

uint64_t test_seed(uint64_t which)
{
	uint64_t state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (which + 1) * UINT64_C(0xbf58476d1ce4e5b9);

	state |= state == 0;
	test_random(&state);
	return state;
}

void test_pin(unsigned which)
{
	static cpu_set_t both; /* the first two that this process may use */
	cpu_set_t one;
	int left = (int)which;

	if (CPU_COUNT(&both) == 0)
		test_check(sched_getaffinity(0, sizeof(both), &both) == 0, "sched_getaffinity: %s", strerror(errno));
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &both) && left-- == 0)
			CPU_SET(cpu, &one);
	if (CPU_COUNT(&one) == 0)
		test_skip("two CPUs are needed");
	test_check(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity: %s", strerror(errno));
	if (test_is_control())
		setpriority(PRIO_PROCESS, 0, -20); /* of this thread, and if it may not, it just takes longer */
}

uint64_t test_now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/** @return the greater one of @value and @at_least, which @value is then, too. */
static uint64_t raise_to(_Atomic uint64_t *value, uint64_t at_least)
{
	uint64_t seen = atomic_load(value);

	while (seen < at_least && !atomic_compare_exchange_weak(value, &seen, at_least))
		;
	return seen > at_least ? seen : at_least;
}

uint64_t test_patient_msec(void)
{
	static _Atomic uint64_t waited, latest; /* the figures are not of one moment, and neither goes back */
	int error = errno;
	uint64_t lost;

	if (test_is_control())
		return test_now_msec();
	/* What is read is 0 as well when a test has used up all descriptors. */
	lost = raise_to(&waited, waited_for_cpu("total=") / 1000) / TEST_PATIENCE_FACTOR * (TEST_PATIENCE_FACTOR - 1);
	errno = error;
	return raise_to(&latest, test_now_msec() - lost);
}

bool test_readable(int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	uint64_t last_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	int r;

	do
		r = poll(&readable, 1, TEST_LOOK_MSEC);
	while ((r == 0 || (r < 0 && errno == EINTR)) && test_patient_msec() < last_msec);
	return r == 1;
}

bool test_join(pthread_t thread)
{
	uint64_t last_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	struct timespec look;
	int r;

	do {
		clock_gettime(CLOCK_REALTIME, &look);
		look.tv_sec += TEST_LOOK_MSEC / 1000;
		r = pthread_timedjoin_np(thread, NULL, &look);
	} while (r == ETIMEDOUT && test_patient_msec() < last_msec);
	return r == 0;
}

bool test_thread_sleeps(int tid)
{
	char path[64], text[256];
	const char *state = NULL;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	stat = fopen(path, "re");
	test_check(stat != NULL, "%s: %s", path, strerror(errno));
	if (fgets(text, sizeof(text), stat) != NULL)
		state = strrchr(text, ')');
	fclose(stat);
	test_check(state != NULL, "%s cannot be understood", path);
	return state[1] != 0 && state[2] != 'R';
}

int test_wait_child(int pid)
{
	int ended = (int)syscall(SYS_pidfd_open, pid, 0), status;

	test_check(ended >= 0, "pidfd_open %d: %s", pid, strerror(errno));
	if (!test_readable(ended)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		test_damage("child %d did not end in %d s", pid, TEST_DEADLINE_SECONDS);
	}
	close(ended);
	test_check(waitpid(pid, &status, 0) == pid, "waitpid %d: %s", pid, strerror(errno));
	return status;
}

void test_end_child(int pid)
{
	int status = test_wait_child(pid);

	if (WIFSIGNALED(status))
		test_damage("a child was ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		test_fail("a child ended with status %d; it has said why", WEXITSTATUS(status));
}

int test_fork(void)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	test_check(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		test_restart_clock();
	}
	return pid;
}

void test_lock_memory(void *address, size_t length)
{
	test_check(syscall(SYS_mlock, address, length) == 0, "mlock: %s", strerror(errno));
}

void test_unlock_memory(void *address, size_t length)
{
	test_check(syscall(SYS_munlock, address, length) == 0, "munlock: %s", strerror(errno));
}
