/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/progress.h"

#include <stdio.h>

#define BAR_WIDTH 40

void progress_draw(int64_t done_pages, int64_t total_pages, bool finished)
{
	int64_t total = total_pages > 0 ? total_pages : 1, done = done_pages < total ? done_pages : total;
	int percent = finished ? 100 : (int)(99 * done / total), filled = percent * BAR_WIDTH / 100;

	fprintf(stderr, "\r[%.*s%*s] %3d%%", filled, "########################################", BAR_WIDTH - filled, "",
		percent);
	if (finished)
		fputc('\n', stderr);
	fflush(stderr);
}
