/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RAM that has been shared is several mappings, also after the library has made it anonymous again: what was filled at
 * another address is never merged with its neighbours by the kernel. Calls that take a range of one mapping only are
 * made piece by piece there.
 */
#ifndef PAGEFUSE_PRELOAD_PIECES_H
#define PAGEFUSE_PRELOAD_PIECES_H

#include <stdint.h>

typedef int piece_function(uintptr_t start, uintptr_t end, void *context);

/**
 * Calls @piece for each part of [@from, @to) that is in one mapping, in order; it may move it away.
 * @return 0, -EFAULT at a hole or without /proc, or what @piece has returned.
 */
int each_piece(uintptr_t from, uintptr_t to, piece_function *piece, void *context);

#endif
