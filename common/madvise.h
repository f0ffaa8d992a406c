/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <sys/mman.h>, with what C libraries of the time of Linux 6.1 lack. */
#ifndef PAGEFUSE_COMMON_MADVISE_H
#define PAGEFUSE_COMMON_MADVISE_H

#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#endif
