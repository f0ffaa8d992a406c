/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Says where pagefuse, installed as this program is, would find its preload and its daemon: a line each, or why not. */
#include <stdio.h>
#include <string.h>

#include "cli/locate.h"

int main(void)
{
	char path[PATH_MAX];
	int r = locate_preload(path);

	puts(r == 0 ? path : strerror(-r));
	r = locate_daemon(path);
	puts(r == 0 ? path : strerror(-r));
	return 0;
}
