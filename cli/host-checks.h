/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* doctor's judgement of a host, from facts alone. */
#ifndef PAGEFUSE_CLI_HOST_CHECKS_H
#define PAGEFUSE_CLI_HOST_CHECKS_H

#include <stdint.h>

#include "cli/findings.h"
#include "cli/host-facts.h"

/** Mappings that sharing makes per MiB of a VM's RAM, as a rule: runs of about ten pages in memory that is shared. */
#define MAPPINGS_PER_MIB 25

/** Only what keeps everything of us from being shared, each an error; beside them there may be warnings. */
void host_obstacles(const struct host_facts *facts, struct findings *findings);
/** Whether one of them is the kernel itself, so that nothing but another one helps. */
bool host_kernel_is_unfit(const struct host_facts *facts);
/** All. */
void host_checks(const struct host_facts *facts, struct findings *findings);

/** A value for vm.max_map_count that is enough for VMs of that size. */
int64_t max_map_count_for(int64_t ram_bytes);

#endif
