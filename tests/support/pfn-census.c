/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counts physical pages: which page frames do these processes' private memory really occupy, and how many of their
 * pages share one. The judge of what pagefuse, or KSM, says that it saves; it asks nobody but the kernel.
 *
 *   pfn-census PID...
 *
 * Looks at anonymous mappings and at private mappings of files whose path contains "pagefuse" (the store). What is
 * mapped from the store has no frame in the page table before somebody reads it, so those pages are read first. What of
 * the store neither a child nor a core would get (MADV_DONTFORK and DONTDUMP; QEMU's RAM has the first) is mapped for
 * the library (library/template.h), and is no guest's. Prints
 *
 *   pages=N           present pages, the kernel's zero page left out
 *   frames=N          different page frames behind them: pages - frames is what sharing saves
 *   shared_pages=N    pages whose frame another one of them uses as well
 *   shared_frames=N   those frames
 *   zero_pages=N      pages that map the kernel's zero page
 *   store_pages=N     pages that are a file's still: a write's copy is anonymous
 *   mappings=N        of all kinds
 *
 * and exits 0, 1 if something could not be read, 77 if not root: frame numbers are hidden from others.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/page.h"

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_FILE (UINT64_C(1) << 61)
#define ENTRY_FRAME ((UINT64_C(1) << 55) - 1)
#define FLAG_ZERO_PAGE (UINT64_C(1) << 24)
#define BATCH_ENTRIES 4096
#define READ_BATCH 1024 /* IOV_MAX */

struct census {
	uint64_t *frames; /* of every present page */
	size_t count, room;
	uint64_t mappings, store_pages;
};

static int add_frame(struct census *census, uint64_t frame)
{
	if (census->count == census->room) {
		size_t room = census->room ? census->room * 2 : 1 << 16;
		uint64_t *frames = realloc(census->frames, room * sizeof(*frames));

		if (!frames)
			return -ENOMEM;
		census->frames = frames;
		census->room = room;
	}
	census->frames[census->count++] = frame;
	return 0;
}

static int count_range(struct census *census, int pagemap, uint64_t start, uint64_t end)
{
	static uint64_t entries[BATCH_ENTRIES];

	while (start < end) {
		uint64_t want = (end - start) >> PAGE_SHIFT_BITS, first = start >> PAGE_SHIFT_BITS;
		ssize_t n;

		if (want > BATCH_ENTRIES)
			want = BATCH_ENTRIES;
		n = pread(pagemap, entries, want * sizeof(*entries), (off_t)(first * sizeof(*entries)));
		if (n < (ssize_t)sizeof(*entries))
			return n < 0 ? -errno : 0;
		for (size_t i = 0; i < (size_t)n / sizeof(*entries); i++) {
			int r = entries[i] & ENTRY_PRESENT ? add_frame(census, entries[i] & ENTRY_FRAME) : 0;

			if (r < 0)
				return r;
			census->store_pages += entries[i] & ENTRY_PRESENT && entries[i] & ENTRY_FILE;
		}
		start += ((uint64_t)n / sizeof(*entries)) << PAGE_SHIFT_BITS;
	}
	return 0;
}

/* Reads a byte of every page from outside, which makes the kernel map it. */
static int read_pages(pid_t pid, uint64_t start, uint64_t end)
{
	static char bytes[READ_BATCH];
	static struct iovec remote[READ_BATCH];

	while (start < end) {
		struct iovec local = { .iov_base = bytes };
		size_t count = 0;

		for (; count < READ_BATCH && start < end; start += PAGE_BYTES)
			remote[count++] = (struct iovec){ .iov_base = (void *)(uintptr_t)start, .iov_len = 1 };
		local.iov_len = count;
		if (process_vm_readv(pid, &local, 1, remote, count, 0) < 0)
			return -errno;
	}
	return 0;
}

/** A mapping, as smaps has it: the line that it begins with, and that of its flags. */
static int count_mapping(struct census *census, const char *pid, int pagemap, const char *line, const char *flags)
{
	uint64_t start, end, inode;
	char access[8];
	int r = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*x %*s %" SCNu64, &start, &end, access, &inode) != 4)
		return 0;
	census->mappings++;
	if (access[3] != 'p' || strstr(line, "[v"))
		return 0;
	if (inode != 0 && (!strstr(line, "pagefuse") || (strstr(flags, " dc") && strstr(flags, " dd"))))
		return 0;
	if (inode != 0)
		r = read_pages((pid_t)strtol(pid, NULL, 10), start, end);
	return r == 0 ? count_range(census, pagemap, start, end) : r;
}

static int count_process(struct census *census, const char *pid)
{
	char path[64], line[1024], first[1024] = "";
	FILE *maps;
	int pagemap, r = 0;

	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%s/smaps", pid);
	maps = fopen(path, "re");
	if (pagemap < 0 || !maps) {
		r = -errno;
		goto out;
	}
	while (r == 0 && fgets(line, sizeof(line), maps)) {
		char dash;

		if (sscanf(line, "%*x%c", &dash) == 1 && dash == '-')
			strcpy(first, line);
		else if (strncmp(line, "VmFlags:", 8) == 0)
			r = count_mapping(census, pid, pagemap, first, line);
	}
out:
	if (maps)
		fclose(maps);
	if (pagemap >= 0)
		close(pagemap);
	return r;
}

static int compare_frames(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_zero_page(int kpageflags, uint64_t frame)
{
	uint64_t flags = 0;

	return pread(kpageflags, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) == (ssize_t)sizeof(flags) &&
	       (flags & FLAG_ZERO_PAGE) != 0;
}

static int report(struct census *census)
{
	uint64_t frames = 0, shared_pages = 0, shared_frames = 0, zero_pages = 0;
	int kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	if (kpageflags < 0)
		return -errno;
	if (census->count > 0)
		qsort(census->frames, census->count, sizeof(*census->frames), compare_frames);
	for (size_t i = 0, next; i < census->count; i = next) {
		for (next = i + 1; next < census->count && census->frames[next] == census->frames[i]; next++)
			;
		if (is_zero_page(kpageflags, census->frames[i])) {
			zero_pages += next - i;
			continue;
		}
		frames++;
		if (next - i > 1) {
			shared_frames++;
			shared_pages += next - i;
		}
	}
	close(kpageflags);
	printf("pages=%" PRIu64 " frames=%" PRIu64 " shared_pages=%" PRIu64 " shared_frames=%" PRIu64,
	       census->count - zero_pages, frames, shared_pages, shared_frames);
	printf(" zero_pages=%" PRIu64 " store_pages=%" PRIu64 " mappings=%" PRIu64 "\n", zero_pages,
	       census->store_pages, census->mappings);
	return 0;
}

int main(int argc, char **argv)
{
	struct census census = { 0 };
	int r = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: pfn-census PID...\n");
		return 2;
	}
	if (geteuid() != 0) {
		fprintf(stderr, "pfn-census: only root sees frame numbers\n");
		return 77;
	}
	for (int i = 1; i < argc && r == 0; i++) {
		r = count_process(&census, argv[i]);
		if (r < 0)
			fprintf(stderr, "pfn-census: process %s: %s\n", argv[i], strerror(-r));
	}
	if (r == 0)
		r = report(&census);
	free(census.frames);
	return r == 0 ? 0 : 1;
}
