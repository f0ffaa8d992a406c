/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process's open files allow: which I/O could write guest memory without passing the page tables, so that a
 * hold would not stop it.
 *
 *   pins        direct I/O and the like. UFFDIO_MOVE refuses pinned pages; a hold by write-protection is blind. Those
 *               that last are not over when a request is, so what the VMM asks for next may come by them: fixed
 *               buffers of io_uring, RDMA, VFIO
 *   references  direct I/O on NFS, Ceph or 9p, vhost-scsi: plain references to pages, which nothing sees
 *
 * A file may be closed with the I/O still under way: what was possible once stays so. Of pins, everything is taken to
 * be capable that is not known to copy, and of keeping them what is neither a disk nor a file of a file system; of
 * references, what is known to take them, and direct I/O that is not known to pin.
 */
#ifndef PAGEFUSE_LIBRARY_FILES_H
#define PAGEFUSE_LIBRARY_FILES_H

#include <stdbool.h>

/**
 * Whether plain references are possible. Any thread. What is done with the memory lock held after it said no is safe,
 * as it comes to say yes with the lock held only.
 */
bool files_may_reference(void);

/**
 * Whether the process can have pinned memory, now or ever. Looks at the files of all threads: some microseconds per
 * file. A hold asks after it has write-protected its pages, since whoever pins one later has to write to it first, and
 * sleeps; so nothing is waited for: a ring whose lock is held at that moment may pin, and is asked anew by the next
 * one. Memory lock held.
 */
bool files_may_pin(void);
/** Whether that has been found before. Any thread. */
bool files_pins_noted(void);

/**
 * Looks at the files of all threads for both. Those that are opened or received are told as they come (files_note()),
 * but some come by ways that nobody sees. A ring whose lock is held is waited for, a millisecond at most, and keeps
 * pins if that does not do. Worker thread, without the lock. *ret_kvm: one is a VM or a vCPU of KVM. @return 0, or
 * -EIO: not all could be looked at, so that anything is possible for now.
 */
int files_look(bool *ret_kvm);

/**
 * Whether memory may be pinned for longer than a request, now; or files that can do so have been seen. Counted by the
 * kernel, but for some; what those are known by is looked at once a second, and as files come. Like files_may_pin() for
 * pages that are write-protected, but it takes some 6 µs. Memory lock held.
 */
bool files_pins_may_last(void);
/**
 * Whether pins are possible, and by all files, which were looked at some seconds ago at most, only such as end with
 * their request; and no plain references. Any thread, no system call.
 */
bool files_pins_are_brief(void);

/**
 * A file has been opened or received; @direct: it is about to get O_DIRECT. Waits for a ring's lock as files_look()
 * does. Any thread, without the lock.
 */
void files_note(int fd, bool direct);
/** Plain references are possible from now on. Any thread, without the lock. */
void files_note_references(void);
/** Pins are possible from now on. Any thread. */
void files_note_pins(void);
/** And also such as last. */
void files_note_lasting_pins(void);

#endif
