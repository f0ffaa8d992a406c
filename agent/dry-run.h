/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the agent would say to a host, said to a person or a program. */
#ifndef PAGEFUSE_AGENT_DRY_RUN_H
#define PAGEFUSE_AGENT_DRY_RUN_H

#include <stdbool.h>
#include <stdio.h>

#include "agent/config.h"
#include "agent/iomem.h"

/** One pass, written to @file. @root: as in struct look. @return 0, -errno. */
int dry_run(const struct config *config, const struct iomem *iomem, int pagemap, const char *root, bool is_json,
	    FILE *file);

#endif
