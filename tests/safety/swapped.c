/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A page that the kernel reports as swapped has not for that been written: a shared page that was write-protected
 * before anybody touched it looks the same. Here the VMM protects its memory by a userfaultfd of its own, as for a
 * snapshot in the background, and an audit looks meanwhile. If it took such pages for diverged, their slots would be
 * freed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/kernel.h"
#include "tests/support/guest.h"

#define PAGES 64u

static int open_userfaultfd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		test_skip("userfaultfd: %s", strerror(errno));
	return fd;
}

static void protect(int fd, const struct guest *g)
{
	struct uffdio_range range = { .start = (uintptr_t)g->memory, .len = PAGES * PAGE_BYTES };
	struct uffdio_register reg = { .range = range, .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .range = range, .mode = UFFDIO_WRITEPROTECT_MODE_WP };

	test_check(ioctl(fd, UFFDIO_REGISTER, &reg) == 0 && ioctl(fd, UFFDIO_WRITEPROTECT, &wp) == 0,
		   "write-protecting: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct guest g;
	char *memory;
	int fd;

	test_begin(argc, argv);
	fd = open_userfaultfd();
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	test_check(guest_share(&g, 0, PAGES) == PAGES, "not all pages are shared");
	protect(fd, &g);
	director_audit(g.vm, g.page, PAGES);
	close(fd); /* ends the protection */
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i + 1) >= 0)
			test_damage("page %u has lost its slot", i);
	test_check(director_count(g.vm, g.page, PAGES, DIRECTOR_SHARED) == PAGES,
		   "pages that nobody wrote have diverged");
	guest_report(&g);
	guest_end(&g);
	return 0;
}
