/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs on the host, in the folder that becomes the guests' disk: reads file names from standard input and writes the
 * list that files.h describes to standard output.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "files.h"

int main(void)
{
	char name[512];
	uint64_t sum, bytes;

	while (fgets(name, sizeof(name), stdin)) {
		int r;

		name[strcspn(name, "\n")] = '\0';
		r = files_sum_one(name, &sum, &bytes);
		if (r < 0) {
			fprintf(stderr, "manifest: cannot read %s: %s\n", name, strerror(-r));
			return 1;
		}
		printf("%016" PRIx64 " %" PRIu64 " %s\n", sum, bytes, name);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
