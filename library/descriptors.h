/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library's own descriptors, which are among the VMM's.
 *
 * Theory of Operation. A VMM may close or replace descriptors that it does not know, and then has files of its own by
 * these numbers. So each number of the library's is noted here, with the file's device and inode. Calls that the
 * preload sees leave these numbers alone. Of calls that nobody sees, the identity tells: it is compared before a
 * number is used.
 *
 * The library opens, closes and uses numbers with the memory lock held only; only poll(), which changes nothing, goes
 * without. So a call that is seen comes before or after, not between a look at the number and its use. What another
 * call does in between is not seen: after it, the identity tells that what was read was not ours.
 *
 * A thread can have a table of its own (unshare(CLONE_FILES)). What it opens in passing may have a number that in the
 * worker's table is another of ours; what it lacks of what is kept it does not open anew.
 */
#ifndef PAGEFUSE_LIBRARY_DESCRIPTORS_H
#define PAGEFUSE_LIBRARY_DESCRIPTORS_H

#include <stdbool.h>

/** At most so many are open at a time. */
#define DESCRIPTORS_MAX 64u

struct descriptor;

/* ---- the library's side; any thread, with the memory lock held or not ---- */

/**
 * Around the opening of a descriptor, from the system call to descriptor_add(): has the memory lock. @return whether it
 * was held before, for descriptors_opened().
 */
bool descriptors_open(void);
void descriptors_opened(bool had);

/**
 * Takes over @fd, which may get another number: 0, 1 and 2 are the VMM's; or -errno, which is returned. @return 0,
 * -EMFILE (too many), -errno; on error nothing is open.
 */
int descriptor_add(int fd, struct descriptor **ret);
/**
 * Opens a file for reading, with O_CLOEXEC and @flags, for a moment: a forked child does not keep it. @return as
 * above.
 */
int descriptor_open_passing(const char *path, int flags, struct descriptor **ret);

/** Closes it if it is still there, and sets *descriptor to NULL. NULL is left as it is. */
void descriptor_close(struct descriptor **descriptor);

/** Its number, at this moment; -1 if it is NULL. */
int descriptor_number(const struct descriptor *descriptor);
/** Whether the number leads to the file that it was given for, in the calling thread. false for NULL. */
bool descriptor_is_there(const struct descriptor *descriptor);

/**
 * read() at @offset of a file of /proc, which leaves another file's offset as it is. @return bytes or -errno; -EBADF if
 * it has not come from our file.
 */
long descriptor_read(const struct descriptor *descriptor, void *bytes, unsigned long length, unsigned long offset);

/** Whether all are there. Worker. */
bool descriptors_are_there(void);
/** Worker, when it starts: whose table of descriptors is meant. */
void descriptors_note_worker(void);
/** Whether the calling thread has the table of descriptors that the library's are in, as far as can be told. */
bool descriptors_table_is_ours(void);

/** When none is left, for good: a child has nothing to ask the kernel. */
void descriptors_forget_process(void);
/** In the child of a fork: they are the child's now, and those that were open for a moment are closed. */
void descriptors_in_child(void);

/* ---- the VMM's side: around calls that close or replace numbers; also in a signal handler ---- */

/** Whether a call on numbers [first, last] may concern one of ours. Cheap, no lock, no system call. */
bool descriptors_concern(unsigned first, unsigned last);
/**
 * Whether @fd is open, and not ours; true as well if that cannot be known here, or there are none of ours. One that is
 * the VMM's stays so until the VMM closes it. One that is nobody's can be ours a moment later, and is not to be closed.
 */
bool descriptors_is_vmms(int fd);
/**
 * Holds numbers still up to descriptors_end(). @return false if they are not those of the calling thread: the call
 * goes straight on, without descriptors_end().
 */
bool descriptors_begin(bool *ret_had);
void descriptors_end(bool had);
/**
 * Around a call that closes a range of numbers, with the look at which of them are ours: meanwhile none of them becomes
 * ours, if that call does not take long. Not between begin and end.
 */
void descriptors_closing(bool begins);
/** The lowest of ours in [first, last], or -1. Between begin and end. */
int descriptors_first(unsigned first, unsigned last);
/** Gives the number @fd of ours up: ours has another one from now on, or is lost. Between begin and end. */
void descriptors_make_way(int fd);
/** Closes @fd if it still is what descriptors_make_way() has left there: the call that it was for has failed. */
void descriptors_take_back(int fd);

#endif
