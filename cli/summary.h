/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A status document in few words, as `pagefuse status` and `pagefuse top` have it. */
#ifndef PAGEFUSE_CLI_SUMMARY_H
#define PAGEFUSE_CLI_SUMMARY_H

#include <jansson.h>
#include <stdio.h>

/* Each prints a line of plain ASCII to @out, or nothing if a daemon of an earlier release does not tell of it. */

/** The daemon and what it takes. */
void summary_daemon(FILE *out, const json_t *status);
/** esxtop's line, with zero pages told apart: saving = shared - common + zero. */
void summary_shared(FILE *out, const json_t *status);
/** What the store and the bookkeeping take. */
void summary_store(FILE *out, const json_t *status);
/** esxtop's figures and state of memory. */
void summary_memory(FILE *out, const json_t *status);
/** What writing all that is shared would take. */
void summary_exposure(FILE *out, const json_t *status);

/** What a VM is doing, in a word or two. */
const char *summary_vm_state(const json_t *vm);

#endif
