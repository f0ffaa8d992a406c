/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bodies of hash.h, compiled once per instruction set; included by hash.c and hash-avx2.c only. */
#ifndef PAGEFUSE_COMMON_HASH_IMPL_H
#define PAGEFUSE_COMMON_HASH_IMPL_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/hash.h"
#include "common/page.h"

uint64_t page_hash_avx2(const void *page, uint64_t seed);

#endif
