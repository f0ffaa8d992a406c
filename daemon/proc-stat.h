/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What /proc says of a process: /proc/PID/stat, fields 9, 22 and 52 of proc_pid_stat(5), and /proc/PID/status of its
 * memory.
 */
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

struct proc_memory {
	uint64_t mapped_bytes;   /* its mappings, whatever is in them: VmSize */
	uint64_t resident_bytes; /* anonymous memory in RAM: RssAnon */
	uint64_t own_bytes;      /* anonymous memory, in RAM or in swap: RssAnon and VmSwap */
};

/** @return 0, -ESRCH if there is no such process, -EIO if it has no memory (any more), -errno. */
int proc_memory_read(pid_t pid, struct proc_memory *ret);

#endif
