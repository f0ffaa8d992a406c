/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/beacons.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "agent/pagemap.h"
#include "common/page.h"

#define TRIED_PAGES 256                                 /* among which one of each kind is looked for */
#define LOW_END (UINT64_C(1) << (32 - PAGE_SHIFT_BITS)) /* page frames below 4 GiB */

static unsigned kind_of(uint64_t pfn)
{
	return pfn < LOW_END ? 0 : 1;
}

int beacons_make(struct beacons *beacons, const struct iomem *iomem, int pagemap)
{
	uint64_t pfns[TRIED_PAGES];
	bool wanted[BEACONS] = { false };
	int count = 0;
	char *pages;

	memset(beacons, 0, sizeof(*beacons));
	for (unsigned i = 0; i < iomem->ram_count; i++)
		wanted[kind_of(iomem->ram[i].first)] = wanted[kind_of(iomem->ram[i].first + iomem->ram[i].pages - 1)] =
			true;
	pages = mmap(NULL, TRIED_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -errno;
	(void)madvise(pages, TRIED_PAGES * PAGE_BYTES, MADV_NOHUGEPAGE);
	/* Written one by one and not locked all: the first that fit do, and the rest goes back. */
	for (unsigned i = 0; i < TRIED_PAGES; i++) {
		char *page = pages + i * PAGE_BYTES;
		unsigned kind;

		*(volatile char *)page = 1;
		if ((!wanted[0] && !wanted[1]) || pagemap_read(pagemap, page, 1, &pfns[i]) < 0 || pfns[i] == 0)
			continue;
		kind = kind_of(pfns[i]);
		if (!wanted[kind] || getrandom(page, PAGE_BYTES, 0) != PAGE_BYTES || mlock(page, PAGE_BYTES) < 0)
			continue;
		wanted[kind] = false;
		beacons->pages[kind] = page;
		beacons->pfns[kind] = pfns[i];
		count++;
	}
	for (unsigned i = 0; i < TRIED_PAGES; i++)
		if (pages + i * PAGE_BYTES != beacons->pages[0] && pages + i * PAGE_BYTES != beacons->pages[1])
			munmap(pages + i * PAGE_BYTES, PAGE_BYTES);
	return count;
}

void beacons_drop(struct beacons *beacons, unsigned which)
{
	if (which < BEACONS && beacons->pages[which] != NULL) {
		munmap(beacons->pages[which], PAGE_BYTES);
		beacons->pages[which] = NULL;
	}
}

void beacons_drop_all(struct beacons *beacons)
{
	for (unsigned i = 0; i < BEACONS; i++)
		beacons_drop(beacons, i);
}
