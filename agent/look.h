/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds what is worth a hint: the kernel, what processes have mapped, what is cached of files. No content is read from
 * a disk for it: only pages that are in memory already are mapped.
 */
#ifndef PAGEFUSE_AGENT_LOOK_H
#define PAGEFUSE_AGENT_LOOK_H

#include <limits.h>

#include "agent/config.h"
#include "agent/hint.h"
#include "agent/iomem.h"
#include "agent/sent.h"

#define LOOK_RECENT 1024

struct look {
	const struct config *config;
	const struct iomem *iomem;
	const char *root; /* before /proc, for processes; "" but in tests */
	int pagemap;
	struct hint_sink *sink;
	struct sent sent;
	bool is_walk;                 /* a look at all files */
	unsigned files;               /* met in this look */
	unsigned left_out;            /* because there was no room to remember them */
	uint64_t recent[LOOK_RECENT]; /* paths that processes of this look have mapped */
	char path[PATH_MAX];
};

/** @return 0, -ENOMEM. */
int look_init(struct look *look, const struct config *config, const struct iomem *iomem, int pagemap,
	      struct hint_sink *sink);
void look_done(struct look *look);

/** All is new again: another session. */
void look_forget(struct look *look);

/** Both give to the sink what has changed since the last time. @return 0, an error of the sink. */
int look_programs(struct look *look); /* the kernel as well */
int look_files(struct look *look);

#endif
