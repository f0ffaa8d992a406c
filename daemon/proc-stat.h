/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What /proc/PID/stat says of a process; fields 9, 22 and 52 of proc_pid_stat(5). */
#ifndef PAGEFUSE_DAEMON_PROC_STAT_H
#define PAGEFUSE_DAEMON_PROC_STAT_H

#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
	unsigned flags;
	uint64_t start_time; /* clock ticks since boot: with the pid, never the same twice */
	int exit_code;       /* 0 also if we may not know */
};

/** @return 0, -ESRCH if there is no such process, -errno. */
int proc_stat_read(pid_t pid, struct proc_stat *ret);

#endif
