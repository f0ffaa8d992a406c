/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* doctor's judgement of one VM, from what the daemon and /proc say of it. */
#ifndef PAGEFUSE_CLI_VM_CHECKS_H
#define PAGEFUSE_CLI_VM_CHECKS_H

#include <jansson.h>

#include "cli/findings.h"
#include "cli/vmm-process.h"

/** A VM that the daemon knows. @vm: from the status document; @process: NULL if it cannot be looked at. */
void vm_checks(const json_t *vm, const struct vmm_process *process, struct findings *findings);

/**
 * A VMM that the daemon at @socket_path does not know. @severity: of the finding that it is not shared at all.
 */
void stray_vmm_checks(const struct vmm_process *process, const char *socket_path, enum severity severity,
		      struct findings *findings);

#endif
