/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process's open files make possible: I/O that writes guest memory without passing the page tables, which a
 * hold would not stop.
 *
 *   pins        direct I/O and the like. UFFDIO_MOVE refuses pinned pages; a hold by write-protection is blind.
 *               Lasting pins outlive a request, so the VMM's next requests may use them: fixed buffers of io_uring,
 *               RDMA, VFIO
 *   references  direct I/O on NFS, Ceph or 9p, vhost-scsi: plain references to pages, which cannot be detected
 *
 * A file may be closed while its I/O is still under way, so what was possible once stays possible. Every file that is
 * not known to copy is assumed to pin, and to keep pins if it is neither a disk nor a file of a file system. Files that
 * are known to take references, and direct I/O that is not known to pin, are assumed to take references.
 */
#ifndef PAGEFUSE_LIBRARY_FILES_H
#define PAGEFUSE_LIBRARY_FILES_H

#include <stdbool.h>

/**
 * Whether plain references are possible. Any thread. If it returns false with the memory lock held, this stays so until
 * the lock is released.
 */
bool files_may_reference(void);

/**
 * Whether the process can have pinned memory, now or ever. Looks at the files of all threads: some microseconds per
 * file. A hold calls this after it has write-protected its pages, since a thread that pins one later has to write to it
 * first, and sleeps. So it does not wait: a ring whose lock is held at that moment is assumed to pin, and the next hold
 * asks again. Memory lock held.
 */
bool files_may_pin(void);
/** Whether pins have been found possible before. Any thread. */
bool files_pins_noted(void);

/**
 * Looks at the files of all threads for both pins and references. Files that are opened or received are reported as
 * they come (files_note()), but some come in ways that the library does not see. If a ring's lock is held, waits a
 * millisecond at most, and then assumes that the ring keeps pins. Worker thread, without the lock. *ret_kvm: one of the
 * files is a VM or a vCPU of KVM. @return 0, or -EIO: not all files could be looked at, so anything is possible for
 * now.
 */
int files_look(bool *ret_kvm);

/**
 * Whether memory may be pinned now for longer than a request, or files that can do so have been seen. The kernel counts
 * most such pins; files that can make the others are looked for once a second, and as files come. Like files_may_pin(),
 * this is for pages that are write-protected, but it takes some 6 µs. Memory lock held.
 */
bool files_pins_may_last(void);
/**
 * Whether pins are possible, but no plain references, and all pins end with their request, judging by all files, looked
 * at some seconds ago at most. Any thread, no system call.
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
/** Pins that outlast their request are possible from now on. Any thread. */
void files_note_lasting_pins(void);

#endif
