/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RAM that has been shared is several mappings, even after the library has made it anonymous again: the kernel never
 * merges memory that was filled at another address with its neighbours. Calls that take a range of one mapping only are
 * made piece by piece there.
 */
#ifndef PAGEFUSE_PRELOAD_PIECES_H
#define PAGEFUSE_PRELOAD_PIECES_H

#include <stdbool.h>
#include <stdint.h>

typedef int piece_function(uintptr_t start, uintptr_t end, void *context);

/**
 * Calls @piece for each part of [@from, @to) that is in one mapping, in order; @piece may move the part away.
 * @return 0, -EFAULT at a hole or without /proc, or the result of @piece.
 */
int each_piece(uintptr_t from, uintptr_t to, piece_function *piece, void *context);

/** Whether something is mapped everywhere in a range; no, if it cannot be told. Leaves errno as it is. */
bool pieces_cover(uintptr_t from, uintptr_t to);

#endif
