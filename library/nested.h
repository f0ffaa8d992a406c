/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that run guests. For these, KVM before Linux 6.13 keeps plain references to pages of the outer guest that have
 * the control structures of the inner guest, and writes to them without the page tables: a hold does not see this, so
 * the write is lost.
 */
#ifndef PAGEFUSE_LIBRARY_NESTED_H
#define PAGEFUSE_LIBRARY_NESTED_H

#include <stdbool.h>

/** The prefix of /proc and /sys: "" except in tests, which set it before the first region. */
extern const char *nested_root;

/** The features of a vCPU were set. @capable: they include VMX or SVM, which it needs to run guests. Any thread. */
void nested_note_vcpu(bool capable);

/**
 * Whether a VM of KVM in this process could run guests of its own in a way that loses writes: on such a kernel, with
 * nested virtualization on, unless its vCPUs are known to lack the features or $PAGEFUSE_NESTED promises that there are
 * no such guests. Worker thread.
 */
bool nested_is_unsafe(void);

#endif
