/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks at all pages of a VM whose mode is not full, so that estimates know what is in them: see engine_survey(). What
 * its reports tell is remembered (match.c), and nothing is matched or ordered for it.
 */
#ifndef PAGEFUSE_ENGINE_SURVEY_H
#define PAGEFUSE_ENGINE_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

struct engine_vm;

/** Goes on with it, one slice at a time. */
void survey_go_on(struct engine_vm *vm);
/** What was reported so far counts no more: the mode has changed. */
void survey_void(struct engine_vm *vm);

#endif
