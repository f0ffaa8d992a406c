/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/limit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/support/test.h"

uint64_t limit_read(void)
{
	FILE *file = fopen(LIMIT_FILE, "re");
	unsigned long value = 0;

	test_check(file != NULL && fscanf(file, "%lu", &value) == 1, "no vm.max_map_count");
	fclose(file);
	return value;
}

void limit_own(void)
{
	uint64_t limit = limit_read();
	char path[256];
	int fd, r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		test_skip("no mount namespace of one's own: %s", strerror(errno));
	snprintf(path, sizeof(path), "%.200s/pagefuse-limit-XXXXXX", test_folder());
	fd = mkstemp(path);
	test_check(fd >= 0, "%s: %s", path, strerror(errno));
	close(fd);
	r = mount(path, LIMIT_FILE, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
	unlink(path); /* it lives on as what is mounted */
	if (r < 0)
		test_skip("no mount over " LIMIT_FILE ": %s", strerror(-r));
	limit_write(limit);
}

void limit_write(uint64_t value)
{
	/* Never shorter, as somebody may be reading it. */
	FILE *file = fopen(LIMIT_FILE, "r+e");

	test_check(file != NULL && fprintf(file, "%-20lu\n", (unsigned long)value) > 0 && fclose(file) == 0,
		   LIMIT_FILE ": %s", strerror(errno));
}
