/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/swap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/page.h"
#include "tests/support/test.h"

#define GROUP_ATTEMPTS 4
#define SWAP_BYTES (UINT64_C(256) << 20)

bool swap_is_there(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	char line[256];
	int lines = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		lines++;
	if (file != NULL)
		fclose(file);
	return lines > 1;
}

static pid_t child;
static char folder[128]; /* the child's temporary one */

/* Who is killed for want of memory leaves what it had there. */
static void folder_undo(void)
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory != NULL)
		closedir(directory);
	if (rmdir(folder) < 0)
		fprintf(stderr, "rmdir %s: %s\n", folder, strerror(errno));
}

static void pass_on(int number)
{
	(void)number;
	kill(child, SIGTERM);
}

/** Forks; returns in the child. The parent waits for its end, which is passed on what would end the parent. */
static bool in_child(int *ret_status)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

	snprintf(folder, sizeof(folder), "%s/pagefuse-swap-XXXXXX", test_folder());
	test_check(mkdtemp(folder) != NULL, "mkdtemp: %s", strerror(errno));
	child = test_fork();
	if (child == 0) {
		setenv("TMPDIR", folder, 1);
		return true;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], pass_on);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	alarm(0); /* the child has a watchdog of its own */
	while (waitpid(child, ret_status, 0) < 0 && errno == EINTR)
		;
	folder_undo();
	return false;
}

/* ---- swap ---- */

static char swap_path[4096];

static void swap_undo(void)
{
	if (swapoff(swap_path) < 0)
		fprintf(stderr, "swapoff %s: %s\n", swap_path, strerror(errno));
	unlink(swap_path);
}

/** The header that mkswap would write. */
static void write_header(int fd)
{
	static union {
		char bytes[PAGE_BYTES];
		struct {
			char boot[1024];
			uint32_t version, last_page, bad_pages;
		};
	} header;

	header.version = 1;
	header.last_page = (uint32_t)(SWAP_BYTES / PAGE_BYTES - 1);
	memcpy(header.bytes + PAGE_BYTES - 10, "SWAPSPACE2", 10);
	test_check(pwrite(fd, &header, PAGE_BYTES, 0) == (ssize_t)PAGE_BYTES, "writing a swap header: %s",
		   strerror(errno));
}

void swap_begin(void)
{
	char *directory;
	int fd, status;

	if (swap_is_there())
		return;
	directory = getcwd(NULL, 0);
	test_check(directory != NULL, "getcwd: %s", strerror(errno));
	snprintf(swap_path, sizeof(swap_path), "%s/pagefuse-swap-%d", directory, getpid());
	free(directory);
	fd = open(swap_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	test_check(fd >= 0, "%s: %s", swap_path, strerror(errno));
	if (posix_fallocate(fd, 0, (off_t)SWAP_BYTES) != 0) {
		unlink(swap_path);
		test_skip("no room for a swap file");
	}
	write_header(fd);
	fsync(fd);
	close(fd);
	if (swapon(swap_path, 0) < 0) {
		int error = errno;

		unlink(swap_path);
		test_skip("swapon: %s", strerror(error));
	}
	if (in_child(&status))
		return;
	swap_undo();
	test_end_as(status);
}

/* ---- control group ---- */

static char group_path[256];

static void group_undo(void)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	/* The kernel lets go of a dead process's memory a little later, and tells nobody. */
	while (rmdir(group_path) < 0) {
		if (errno != EBUSY || test_patient_msec() > last) {
			fprintf(stderr, "rmdir %s: %s\n", group_path, strerror(errno));
			return;
		}
		poll(NULL, 0, 10);
	}
}

static bool group_write(const char *name, uint64_t value)
{
	char path[320], text[32];
	int length = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
	bool written;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group_path, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	written = fd >= 0 && write(fd, text, (size_t)length) == length;
	if (fd >= 0)
		close(fd);
	return written;
}

static bool group_make(uint64_t limit_bytes)
{
	static const char *const parents[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup" };

	for (size_t i = 0; i < sizeof(parents) / sizeof(*parents); i++) {
		snprintf(group_path, sizeof(group_path), "%s/pagefuse-test-%d", parents[i], getpid());
		if (mkdir(group_path, 0755) < 0)
			continue;
		if (group_write("memory.limit_in_bytes", limit_bytes) || group_write("memory.max", limit_bytes))
			return true;
		rmdir(group_path);
	}
	return false;
}

void swap_group_begin(uint64_t limit_bytes)
{
	int status = 0;

	for (int attempt = 0; attempt < GROUP_ATTEMPTS; attempt++, limit_bytes += limit_bytes / 2) {
		if (!group_make(limit_bytes))
			test_skip("no memory control group can be made here");
		if (in_child(&status)) {
			test_check(group_write("cgroup.procs", (uint64_t)getpid()), "entering %s: %s", group_path,
				   strerror(errno));
			return;
		}
		group_undo();
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			break;
		/* Reclaim can lose the race against writers at any limit: what is tested is not when that happens. */
		fprintf(stderr, "killed in a group of %llu bytes\n", (unsigned long long)limit_bytes);
	}
	test_end_as(status);
}
