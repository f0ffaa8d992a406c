/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program that a guest of the tests runs once it is set up: it fills memory, reads the files of its disk, and obeys
 * commands, one per line, on standard input, the serial line.
 *
 *   guest NAME LISTS ROOT DIVISOR
 *
 * LISTS is the folder of the lists, of files below ROOT. It takes as much memory as memory.h says, divided
 * by DIVISOR.
 *
 *   sum             read all files of the first list, take sums of them and of memory, remember them
 *   check           the same again, from the last file to the first, as those that were read last are the ones that are
 *                   in memory still; files must equal the list, everything the remembered sums, and every byte of
 *                   memory what it was made as
 *   check-disk      the same with the page cache dropped before, so that all files are read from the disk once more
 *   churn           read the files of the other list, drop the page cache, read the first list again
 *   new-duplicates  fill more memory with what every other guest that is told so has as well
 *   rewrite         fill memory anew; what is the same in all guests stays so, if all are told so
 *   scatter         fill much memory in a way that sharing it all would take very many mappings
 *   thin-out        give half of that back, in blocks of 2 MiB
 *   fill-pages      write to the pages that reads are timed into
 *   read-in-order, read-at-random   time reads of 4 KiB from the disk, see reads.h; tells their microseconds and sum
 *   agent           start the agent of pagefuse, where one was put into the initramfs; kill one that runs
 *   resources       take CPUs into use that were plugged in; tells how many CPUs and how much memory there are now
 *   idle, busy      the writer rests, or writes
 *   poweroff
 *
 * Each is answered by a line "guest: COMMAND ok …" or "guest: COMMAND failed …".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "reads.h"
#include "sum.h"

#define FIRST_LIST "first"
#define CHECK_LIST "check" /* the first list from its end to its beginning */
#define OTHER_LIST "others"
#define ARGUMENTS 5
#define MIB ((size_t)1024 * 1024)
#define NEW_DUPLICATES_BYTES (16 * MIB)
#define SCATTERED_BYTES (1280 * MIB)
#define CPUS_MAX 16

static uint64_t own_seed;
static const char *lists, *root;

static struct {
	bool taken;
	uint64_t files, memory;
} sums;

static bool drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "3", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

static bool answer(const char *command, int r)
{
	if (r < 0)
		printf("guest: %s failed error=%s\n", command, strerror(-r));
	else
		printf("guest: %s ok\n", command);
	return r >= 0;
}

static int read_files(const char *list, struct files_result *ret)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", lists, list);
	return files_read(path, root, ret);
}

/* Files and memory as they are now, and whether they are right. */
static void look(const char *command, bool against_sums)
{
	struct files_result files;
	uint64_t memory_bytes, memory = memory_sum();
	unsigned wrong_pages = memory_check(&memory_bytes);
	int r = read_files(against_sums ? CHECK_LIST : FIRST_LIST, &files);
	bool same = !against_sums || (sums.taken && sums.files == files.sum && sums.memory == memory);
	bool good = same && files.wrong == 0 && wrong_pages == 0;

	if (r < 0) {
		answer(command, r);
		return;
	}
	if (!against_sums) {
		sums.taken = true;
		sums.files = files.sum;
		sums.memory = memory;
	}
	printf("guest: %s %s as_before=%s", command, good ? "ok" : "failed", same ? "yes" : "no");
	printf(" files=%u wrong_files=%u file_bytes=%" PRIu64 " files_sum=%016" PRIx64,
	       files.files, files.wrong, files.bytes, files.sum);
	printf(" wrong_pages=%u memory_bytes=%" PRIu64 " memory_sum=%016" PRIx64 "\n",
	       wrong_pages, memory_bytes, memory);
}

static int churn(void)
{
	struct files_result result;
	int r = read_files(OTHER_LIST, &result);

	if (r < 0)
		return r;
	if (result.wrong != 0 || !drop_caches())
		return -EIO;
	r = read_files(FIRST_LIST, &result);
	if (r < 0)
		return r;
	return result.wrong == 0 ? 0 : -EIO;
}

static int new_duplicates(void)
{
	int r = memory_add_same(NEW_DUPLICATES_BYTES);

	/* What came later belongs to the sums from now on. */
	sums.memory = memory_sum();
	return r;
}

static void rewrite(void)
{
	memory_rewrite();
	sums.memory = memory_sum();
}

static void take_cpus(void)
{
	for (unsigned cpu = 1; cpu < CPUS_MAX; cpu++) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (write(fd, "1", 1) < 0)
			fprintf(stderr, "guest: %s: %s\n", path, strerror(errno));
		close(fd);
	}
}

static void tell_resources(void)
{
	take_cpus();
	printf("guest: resources ok cpus=%ld memory_mib=%zu\n", sysconf(_SC_NPROCESSORS_ONLN),
	       (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / MIB);
}

static int start_agent(void)
{
	int status, r = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/sh", "sh", "/agent", NULL);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		r = -errno;
	else if (status != 0)
		r = -ENODEV;
	return r;
}

static void time_reads(const char *command, bool random)
{
	uint64_t usec, sum;
	int r = reads_time(random, &usec, &sum);

	if (r < 0)
		answer(command, r);
	else
		printf("guest: %s ok usec=%" PRIu64 " sum=%016" PRIx64 "\n", command, usec, sum);
}

static void obey(const char *command)
{
	if (strcmp(command, "sum") == 0) {
		look(command, false);
	} else if (strcmp(command, "check") == 0) {
		look(command, true);
	} else if (strcmp(command, "check-disk") == 0) {
		if (drop_caches())
			look(command, true);
		else
			answer(command, -EIO);
	} else if (strcmp(command, "churn") == 0) {
		answer(command, churn());
	} else if (strcmp(command, "new-duplicates") == 0) {
		answer(command, new_duplicates());
	} else if (strcmp(command, "rewrite") == 0) {
		rewrite();
		answer(command, 0);
	} else if (strcmp(command, "scatter") == 0) {
		answer(command, memory_add_scattered(own_seed, SCATTERED_BYTES));
	} else if (strcmp(command, "thin-out") == 0) {
		answer(command, memory_thin_out());
	} else if (strcmp(command, "fill-pages") == 0) {
		answer(command, reads_fill());
	} else if (strcmp(command, "read-in-order") == 0 || strcmp(command, "read-at-random") == 0) {
		time_reads(command, strcmp(command, "read-at-random") == 0);
	} else if (strcmp(command, "agent") == 0) {
		answer(command, start_agent());
	} else if (strcmp(command, "resources") == 0) {
		tell_resources();
	} else if (strcmp(command, "idle") == 0 || strcmp(command, "busy") == 0) {
		memory_set_writing(command[0] == 'b');
		answer(command, 0);
	} else if (strcmp(command, "poweroff") == 0) {
		answer(command, 0);
		tcdrain(STDOUT_FILENO);
		reboot(RB_POWER_OFF);
	} else {
		answer(command, -EINVAL);
	}
}

int main(int argc, char **argv)
{
	char line[128];
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != ARGUMENTS) {
		answer("start", -EINVAL);
		return 1;
	}
	lists = argv[2];
	root = argv[3];
	own_seed = sum_bytes(SUM_START, argv[1], strlen(argv[1]));
	r = memory_start(own_seed, (unsigned)strtoul(argv[4], NULL, 10));
	if (r < 0) {
		answer("start", r);
		return 1;
	}
	printf("guest: ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] != '\0')
			obey(line);
	}
	return 1;
}
