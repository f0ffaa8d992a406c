/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library's own descriptors, which are among the VMM's.
 *
 * Theory of Operation. A VMM may close or replace descriptors that it does not know, and then have files of its own at
 * these numbers. So each number of the library's is noted here, with the file's device and inode. Calls that the
 * preload sees leave these numbers alone. Calls that it does not see are detected by this identity, which is compared
 * before a number is used.
 *
 * The library opens, closes and uses numbers with the memory lock held only; only poll(), which changes nothing, is
 * called without it. So a call that is seen happens before or after, never between the check of a number and its use.
 * If a call that is not seen happens in between, a check of the identity afterwards shows that the data read was not
 * ours.
 *
 * A thread can have a table of its own (unshare(CLONE_FILES)). A file that it opens in passing may have a number that
 * belongs to another of our files in the worker's table; long-lived descriptors that its table lacks are not opened
 * again there.
 */
#ifndef PAGEFUSE_LIBRARY_DESCRIPTORS_H
#define PAGEFUSE_LIBRARY_DESCRIPTORS_H

#include <stdbool.h>

/** At most so many are open at a time. */
#define DESCRIPTORS_MAX 64u

struct descriptor;

/* ---- the library's side; any thread, with the memory lock held or not ---- */

/**
 * Around the opening of a descriptor, from the system call to descriptor_add(): takes the memory lock. @return whether
 * it was held before, for descriptors_opened().
 */
bool descriptors_open(void);
void descriptors_opened(bool had);

/**
 * Takes over @fd, which may get another number, as 0, 1 and 2 are the VMM's. A negative @fd is a -errno, which is
 * returned. @return 0, -EMFILE (too many), -errno; on error nothing is open.
 */
int descriptor_add(int fd, struct descriptor **ret);
/**
 * Opens a file for reading, with O_CLOEXEC and @flags, for a short time: a forked child does not keep it. @return as
 * above.
 */
int descriptor_open_passing(const char *path, int flags, struct descriptor **ret);

/** Closes a descriptor if it is still there, and sets *descriptor to NULL. NULL is left as it is. */
void descriptor_close(struct descriptor **descriptor);

/** The current number of a descriptor; -1 for NULL. */
int descriptor_number(const struct descriptor *descriptor);
/** Whether the number still leads to the file it was noted for, in the calling thread. false for NULL. */
bool descriptor_is_there(const struct descriptor *descriptor);

/**
 * Reads a file of /proc at @offset, without changing the file offset in case the number is another file's. @return
 * bytes or -errno; -EBADF if the data did not come from our file.
 */
long descriptor_read(const struct descriptor *descriptor, void *bytes, unsigned long length, unsigned long offset);

/** Whether all descriptors are still there. Worker. */
bool descriptors_are_there(void);
/** Worker, when it starts: the library's descriptors are in its table. */
void descriptors_note_worker(void);
/** Whether the library's descriptors are in the calling thread's table, as far as is known. */
bool descriptors_table_is_ours(void);

/** When no descriptor is left for good: a child then need not ask the kernel. */
void descriptors_forget_process(void);
/** In the child of a fork: the descriptors are the child's now, and those opened in passing are closed. */
void descriptors_in_child(void);

/* ---- the VMM's side: around calls that close or replace numbers; also in a signal handler ---- */

/** Whether a call on numbers [first, last] may concern one of ours. Cheap, no lock, no system call. */
bool descriptors_concern(unsigned first, unsigned last);
/**
 * Whether @fd is open and not ours; also true if that cannot be determined here, or if we have no descriptors. A
 * descriptor of the VMM's stays the VMM's until the VMM closes it. A number that is not open may become ours a moment
 * later, and must not be closed.
 */
bool descriptors_is_vmms(int fd);
/**
 * Keeps our numbers unchanged until descriptors_end(). @return false if they are not in the calling thread's table: the
 * call proceeds without descriptors_end().
 */
bool descriptors_begin(bool *ret_had);
void descriptors_end(bool had);
/**
 * Around a call that closes a range of numbers, and the check of which are ours: meanwhile none of them becomes ours,
 * unless the call takes long. Not between begin and end.
 */
void descriptors_closing(bool begins);
/** The lowest number of ours in [first, last], or -1. Between begin and end. */
int descriptors_first(unsigned first, unsigned last);
/** Gives up our number @fd: our file has another number from now on, or is lost. Between begin and end. */
void descriptors_make_way(int fd);
/** Closes @fd if it still is the file that descriptors_make_way() left there, because the VMM's call has failed. */
void descriptors_take_back(int fd);

#endif
