/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which I/O of this process could write guest memory without passing the page tables. UFFDIO_MOVE refuses pinned pages
 * by itself; holding by write-protection does not see pins, and some I/O takes references that neither sees.
 */
#ifndef PAGEFUSE_LIBRARY_PINS_H
#define PAGEFUSE_LIBRARY_PINS_H

#include <stdbool.h>

struct pins {
	bool possible; /* some open file can pin pages: O_DIRECT, fixed buffers of io_uring, SG_IO, vfio, vdpa, RDMA */
	bool unseen;   /* some open file takes plain references: O_DIRECT on NFS, Ceph, 9p; vhost-scsi */
	bool kvm;      /* some open file is a VM or vCPU of KVM */
};

/** Looks through the process's open files. Costs about 1 µs per file. Worker thread. @return 0 or -errno: assume all.
 */
int pins_look(struct pins *ret);

/** Whether swap is configured, so that MADV_PAGEOUT can tell pinned pages from others. Worker thread. */
bool pins_swap_available(void);

#endif
