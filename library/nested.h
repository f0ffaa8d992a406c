/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that run guests. For those, KVM before Linux 6.13 keeps plain references to pages of the outer guest, with the
 * inner one's control structures, and writes there without the page tables: unseen by a hold, so the write is lost.
 */
#ifndef PAGEFUSE_LIBRARY_NESTED_H
#define PAGEFUSE_LIBRARY_NESTED_H

#include <stdbool.h>

/** What /proc and /sys are below: "" but in tests, which set it before the first region. */
extern const char *nested_root;

/** A vCPU was given its features: whether VMX or SVM is among them, without which it cannot run guests. Any thread. */
void nested_note_vcpu(bool capable);

/**
 * Whether a VM of KVM in this process could run guests of its own in a way that loses writes: on such a kernel, with
 * nested virtualization on, unless its vCPUs are known to lack the features or $PAGEFUSE_NESTED promises it.
 * Worker thread.
 */
bool nested_is_unsafe(void);

#endif
