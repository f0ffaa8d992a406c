/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library/lock.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/visits.h"

struct identity {
	dev_t device;
	ino_t inode;
};

#define FIRST_NUMBER (STDERR_FILENO + 1) /* the VMM may write to the numbers below even if it has closed them */

#define CLOSING_YIELDS 1000u /* while an opening waits until the VMM has closed a range */

#define FREE (-1) /* number_of() of a free entry, */
#define LOST (-2) /* and of an entry whose number now leads to another file of ours */

struct descriptor {
	_Atomic int next_fd; /* number + 1 */
	bool passing;
	long opener; /* passing only: id of the thread whose table has it. All others are in the worker's */
	struct identity identity;
};

static struct descriptor table[DESCRIPTORS_MAX];
static _Atomic unsigned table_end; /* all entries ever used are below */
static _Atomic bool opening;       /* a number that is not in the table yet may be ours */
static _Atomic unsigned closings;  /* ranges that VMM threads are closing now */
static _Atomic unsigned changes;   /* see descriptors_is_vmms() */
static _Atomic long process;       /* that owns the descriptors; 0: there are none */
static _Atomic long worker;        /* its thread id; 0: there is no worker */
static struct identity given_up;   /* by descriptors_make_way() */

static bool lock(void)
{
	bool had = memory_lock_is_mine();

	if (!had)
		memory_lock_any();
	return had;
}

static void unlock(bool had)
{
	if (!had)
		memory_unlock();
}

static long call(long number, long a, long b, long c)
{
	return sys_raw(number, a, b, c, 0, 0, 0);
}

static long identify(int fd, struct identity *ret)
{
	struct stat st = { 0 };
	long r = call(SYS_fstat, fd, (long)&st, 0);

	*ret = (struct identity){ .device = st.st_dev, .inode = st.st_ino };
	return r;
}

static bool leads_to(int fd, struct identity wanted)
{
	struct identity found;

	return identify(fd, &found) == 0 && found.device == wanted.device && found.inode == wanted.inode;
}

static int number_of(const struct descriptor *descriptor)
{
	return atomic_load_explicit(&descriptor->next_fd, memory_order_acquire) - 1;
}

/* ---- the library's side ---- */

/*
 * A range is closed without the lock, as that may take long. The thread that opens and the thread that closes each
 * announce themselves before they look for the other, so at least one sees the other: the closing thread then finds the
 * number in the table, and the opening thread waits. But it does not wait if it holds the lock already, nor for ever:
 * then the descriptor may be closed, as by a call that is not seen.
 */
bool descriptors_open(void)
{
	bool had = lock();

	for (unsigned i = 0;; i++) {
		atomic_fetch_add(&changes, 1);
		atomic_store(&opening, true);
		if (had || atomic_load(&closings) == 0 || !PROTECTED(PROTECT_OWN_FILES))
			return had;
		if (i >= CLOSING_YIELDS && !closing_is_awaited)
			return had;
		descriptors_opened(had);
		sched_yield();
		lock();
	}
}

void descriptors_opened(bool had)
{
	atomic_fetch_add(&changes, 1);
	atomic_store(&opening, false);
	unlock(had);
}

/** Leaves the numbers of standard files to the VMM. @return another one, or -errno; then nothing is open. */
static int leave_standard(int fd)
{
	int other;

	if (fd < 0 || fd >= FIRST_NUMBER || !PROTECTED(PROTECT_OWN_FILES))
		return fd;
	other = (int)call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FIRST_NUMBER);
	call(SYS_close, fd, 0, 0);
	return other;
}

/** Whether the calling thread's numbers are those of @descriptor's table, as far as is known. */
static bool has_its_table(const struct descriptor *descriptor)
{
	long other = descriptor->passing ? descriptor->opener : worker;

	return other == 0 || sys_raw(SYS_kcmp, call(SYS_gettid, 0, 0, 0), other, KCMP_FILES, 0, 0, 0) <= 0;
}

int descriptor_add(int fd, struct descriptor **ret)
{
	struct identity identity;
	unsigned i = 0;

	fd = leave_standard(fd);
	if (fd < 0)
		return fd;
	while (i < DESCRIPTORS_MAX && number_of(&table[i]) != FREE)
		i++;
	if (i == DESCRIPTORS_MAX || identify(fd, &identity) < 0) {
		call(SYS_close, fd, 0, 0);
		return -EMFILE;
	}
	/* The file that had this number was closed unseen. The old entry must not be taken for the new file. */
	for (unsigned k = 0; k < table_end; k++)
		if (number_of(&table[k]) == fd && has_its_table(&table[k]))
			atomic_store_explicit(&table[k].next_fd, LOST + 1, memory_order_release);
	if (process == 0)
		process = call(SYS_getpid, 0, 0, 0);
	table[i].identity = identity;
	table[i].passing = false;
	atomic_store_explicit(&table[i].next_fd, fd + 1, memory_order_release);
	if (i >= table_end)
		table_end = i + 1;
	*ret = &table[i];
	return 0;
}

int descriptor_open_passing(const char *path, int flags, struct descriptor **ret)
{
	bool had = descriptors_open();
	int fd = (int)sys_raw(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | flags, 0, 0, 0);
	int r = descriptor_add(fd, ret);

	if (r == 0) {
		(*ret)->passing = true;
		(*ret)->opener = call(SYS_gettid, 0, 0, 0);
	}
	descriptors_opened(had);
	return r;
}

void descriptor_close(struct descriptor **descriptor)
{
	bool had;

	if (*descriptor == NULL)
		return;
	had = lock();
	if (descriptor_is_there(*descriptor))
		call(SYS_close, number_of(*descriptor), 0, 0);
	atomic_fetch_add(&changes, 1);
	atomic_store_explicit(&(*descriptor)->next_fd, 0, memory_order_release);
	*descriptor = NULL;
	unlock(had);
}

int descriptor_number(const struct descriptor *descriptor)
{
	return descriptor == NULL ? -1 : number_of(descriptor);
}

bool descriptor_is_there(const struct descriptor *descriptor)
{
	if (descriptor == NULL)
		return false;
	return !PROTECTED(PROTECT_OWN_FILES) || leads_to(number_of(descriptor), descriptor->identity);
}

long descriptor_read(const struct descriptor *descriptor, void *bytes, unsigned long length, unsigned long offset)
{
	bool had = lock();
	long r = sys_raw(SYS_pread64, descriptor_number(descriptor), (long)bytes, (long)length, (long)offset, 0, 0);

	if (r >= 0 && !descriptor_is_there(descriptor))
		r = -EBADF;
	unlock(had);
	return r;
}

bool descriptors_are_there(void)
{
	bool had = lock(), there = true;

	for (unsigned i = 0; i < table_end; i++)
		there = there && (number_of(&table[i]) == FREE || descriptor_is_there(&table[i]));
	unlock(had);
	return there;
}

void descriptors_note_worker(void)
{
	worker = call(SYS_gettid, 0, 0, 0);
}

bool descriptors_table_is_ours(void)
{
	if (call(SYS_getpid, 0, 0, 0) != process)
		return false; /* a child that borrows its parent's memory, or whose fork handler has not run yet */
	if (worker == 0)
		return true;
	/*
	 * unshare(CLONE_FILES). Where kcmp() is not allowed, the thread is assumed to share the table, as nearly every
	 * thread does.
	 */
	return sys_raw(SYS_kcmp, call(SYS_gettid, 0, 0, 0), worker, KCMP_FILES, 0, 0, 0) <= 0;
}

void descriptors_forget_process(void)
{
	process = 0;
}

void descriptors_in_child(void)
{
	for (unsigned i = 0; i < table_end; i++) {
		struct descriptor *passing = &table[i];

		if (number_of(passing) >= 0 && passing->passing)
			descriptor_close(&passing);
	}
	opening = false;
	closings = 0;
	worker = 0;
	if (process != 0)
		process = call(SYS_getpid, 0, 0, 0);
}

/* ---- the VMM's side ---- */

static int first_noted(unsigned first, unsigned last)
{
	int found = -1;

	for (unsigned i = 0; i < atomic_load_explicit(&table_end, memory_order_relaxed); i++) {
		int fd = number_of(&table[i]);

		if (fd >= 0 && (unsigned)fd >= first && (unsigned)fd <= last && (found < 0 || fd < found))
			found = fd;
	}
	return found;
}

bool descriptors_concern(unsigned first, unsigned last)
{
	return PROTECTED(PROTECT_OWN_FILES) && (atomic_load(&opening) || first_noted(first, last) >= 0);
}

static bool is_open(int fd)
{
	return call(SYS_fcntl, fd, F_GETFD, 0) >= 0;
}

/*
 * Without the lock: a number that was open, is not noted as ours, and was not ours in between is the VMM's. It may have
 * been ours when it was looked at, and have been closed since. So `changes` is incremented after a close, before the
 * close is visible in the table or by `opening`.
 */
bool descriptors_is_vmms(int fd)
{
	unsigned before = atomic_load(&changes);
	bool had, is;

	if (process == 0 || (is_open(fd) && !descriptors_concern((unsigned)fd, (unsigned)fd) &&
			     atomic_load(&changes) == before))
		return true;
	if (!PROTECTED(PROTECT_OWN_FILES) || !descriptors_begin(&had))
		return true;
	is = descriptors_first((unsigned)fd, (unsigned)fd) < 0 && is_open(fd);
	descriptors_end(had);
	return is;
}

bool descriptors_begin(bool *ret_had)
{
	if (!visit_begin())
		return false;
	if (!descriptors_table_is_ours()) {
		visit_end();
		return false;
	}
	*ret_had = lock();
	return true;
}

void descriptors_end(bool had)
{
	unlock(had);
	visit_end();
}

void descriptors_closing(bool begins)
{
	atomic_fetch_add(&closings, begins ? 1 : UINT_MAX);
}

/**
 * Two entries can have the same number, in different tables: then this is the one that is there in the calling thread's
 * table.
 */
static struct descriptor *find(int fd)
{
	struct descriptor *found = NULL;

	for (unsigned i = 0; i < table_end; i++)
		if (number_of(&table[i]) == fd && (found == NULL || descriptor_is_there(&table[i])))
			found = &table[i];
	return found;
}

int descriptors_first(unsigned first, unsigned last)
{
	int fd;

	while ((fd = first_noted(first, last)) >= 0) {
		if (descriptor_is_there(find(fd)))
			return fd;
		if ((unsigned)fd == last)
			return -1;
		first = (unsigned)fd + 1; /* closed unseen: the number may be the VMM's */
	}
	return -1;
}

void descriptors_make_way(int fd)
{
	struct descriptor *descriptor = find(fd);
	long to;

	if (descriptor == NULL)
		return;
	given_up = descriptor->identity;
	(void)descriptors_open(); /* the lock is held already */
	to = call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FIRST_NUMBER);
	if (to >= 0)
		atomic_store_explicit(&descriptor->next_fd, (int)to + 1, memory_order_release);
	descriptors_opened(true);
}

void descriptors_take_back(int fd)
{
	if (find(fd) == NULL && leads_to(fd, given_up))
		call(SYS_close, fd, 0, 0);
}
