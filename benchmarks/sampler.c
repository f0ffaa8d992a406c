/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes down, a given number of times a second, what memory the host uses and what CPU time sharing has cost so far.
 *
 *   sampler MSEC [all:PID | pagefuse:PID]...
 *
 * One line per sample, until it is killed:
 *
 *   seconds    since the epoch
 *   KiB        AnonPages + Shmem + PageTables + Slab: everything that sharing saves in, and everything that it costs
 *   nsec       CPU time of all threads of the "all" processes, and of those of the "pagefuse" processes (VMMs) that are
 *              called pagefuse, since they exist
 *   KiB        AnonPages + Shmem: guests' memory and its copies alone
 *   KiB        the same and what of it is in swap only
 *
 * A process that is gone counts as what was last seen of it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 16
#define WORKER_NAME "pagefuse\n"

struct process {
	const char *pid;
	bool workers_only;
	uint64_t nsec;
};

/* Reads a whole small file of /proc. @return its length, 0 if there is none. */
static size_t read_file(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buffer, size - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		n = 0;
	buffer[n] = '\0';
	return (size_t)n;
}

static uint64_t meminfo_kib(const char *meminfo, const char *field)
{
	const char *line = strstr(meminfo, field);

	return line ? strtoull(line + strlen(field), NULL, 10) : 0;
}

/* @return what guests and their copies take. @ret_all: with the kernel's own for them. @ret_swap: with that in swap. */
static uint64_t memory_kib(uint64_t *ret_all, uint64_t *ret_swap)
{
	char meminfo[8192];
	uint64_t pages;

	read_file("/proc/meminfo", meminfo, sizeof(meminfo));
	pages = meminfo_kib(meminfo, "\nAnonPages:") + meminfo_kib(meminfo, "\nShmem:");
	*ret_all = pages + meminfo_kib(meminfo, "\nPageTables:") + meminfo_kib(meminfo, "\nSlab:");
	*ret_swap = pages + meminfo_kib(meminfo, "\nSwapTotal:") - meminfo_kib(meminfo, "\nSwapFree:") -
		    meminfo_kib(meminfo, "\nSwapCached:");
	return pages;
}

static uint64_t thread_nsec(const struct process *process, const char *tid)
{
	char path[64], text[128];

	if (process->workers_only) {
		snprintf(path, sizeof(path), "/proc/%s/task/%.16s/comm", process->pid, tid);
		read_file(path, text, sizeof(text));
		if (strcmp(text, WORKER_NAME) != 0)
			return 0;
	}
	snprintf(path, sizeof(path), "/proc/%s/task/%.16s/schedstat", process->pid, tid);
	read_file(path, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static void look_at_process(struct process *process)
{
	char path[64];
	uint64_t nsec = 0;
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%s/task", process->pid);
	tasks = opendir(path);
	if (!tasks)
		return;
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.')
			nsec += thread_nsec(process, entry->d_name);
	}
	closedir(tasks);
	if (nsec > process->nsec)
		process->nsec = nsec;
}

static bool parse_process(const char *word, struct process *ret)
{
	const char *colon = strchr(word, ':');

	if (!colon)
		return false;
	ret->pid = colon + 1;
	ret->workers_only = strncmp(word, "pagefuse:", strlen("pagefuse:")) == 0;
	return ret->workers_only || strncmp(word, "all:", strlen("all:")) == 0;
}

static void sample(struct process *processes, unsigned count)
{
	uint64_t all_kib, swap_kib, pages_kib = memory_kib(&all_kib, &swap_kib), nsec = 0;
	struct timespec now;

	for (unsigned i = 0; i < count; i++) {
		look_at_process(&processes[i]);
		nsec += processes[i].nsec;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	printf("%.3f %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	       (double)now.tv_sec + (double)now.tv_nsec / 1e9, all_kib, nsec, pages_kib, swap_kib);
}

int main(int argc, char **argv)
{
	struct process processes[PROCESSES_MAX] = { 0 };
	unsigned count = 0;
	long msec = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	struct timespec next;

	for (int i = 2; i < argc && count < PROCESSES_MAX; i++) {
		if (!parse_process(argv[i], &processes[count++]))
			msec = 0;
	}
	if (msec <= 0 || msec > 1000) {
		fprintf(stderr, "usage: sampler MSEC [all:PID | pagefuse:PID]...\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		sample(processes, count);
		next.tv_nsec += msec * 1000000;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
}
