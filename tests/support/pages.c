/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/kernel.h"
#include "tests/support/test.h"

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_FILE (UINT64_C(1) << 61)
#define ENTRY_FRAME ((UINT64_C(1) << 55) - 1)

void *pages_map(size_t count, bool huge)
{
	size_t length = count * PAGE_BYTES;
	char *all = mmap(NULL, length + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	char *start;

	test_check(all != MAP_FAILED, "mmap %zu pages: %s", count, strerror(errno));
	start = (char *)(((uintptr_t)all + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1));
	if (start > all)
		munmap(all, (size_t)(start - all));
	munmap(start + length, (size_t)(all + HUGE_BYTES - start));
	madvise(start, length, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return start;
}

PAGES_AS_A_GUEST void pages_fill(void *page, uint64_t content)
{
	volatile uint64_t *words = page;

	for (size_t i = 0; i < PAGE_WORDS; i++)
		words[i] = pages_word(content, i);
}

PAGES_AS_A_GUEST long pages_differ(const void *page, uint64_t content)
{
	const volatile uint64_t *words = page;

	for (size_t i = 0; i < PAGE_WORDS; i++)
		if (words[i] != pages_word(content, i))
			return (long)i;
	return -1;
}

static uint64_t entry_in(int pagemap, const void *address)
{
	uint64_t entry = 0;

	test_check(pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)address / PAGE_BYTES * sizeof(entry))) ==
			   sizeof(entry),
		   "reading pagemap: %s", strerror(errno));
	return entry;
}

static uint64_t entry_of(const void *address)
{
	static int pagemap = -1;
	static pid_t owner;

	if (pagemap < 0 || owner != getpid()) {
		pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		owner = getpid();
	}
	return entry_in(pagemap, address);
}

static uint64_t frame_of(uint64_t entry)
{
	if ((entry & ENTRY_PRESENT) == 0)
		return 0;
	if ((entry & ENTRY_FRAME) == 0)
		test_skip("page frame numbers in /proc/self/pagemap need CAP_SYS_ADMIN");
	return entry & ENTRY_FRAME;
}

uint64_t pages_frame(const void *address)
{
	return frame_of(entry_of(address));
}

uint64_t pages_frame_of_content(const void *address)
{
	uint64_t frame = pages_frame(address), flags = 0;
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	test_check(fd >= 0, "/proc/kpageflags: %s", strerror(errno));
	test_check(frame == 0 || pread(fd, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) == sizeof(flags),
		   "/proc/kpageflags: no frame %llx", (unsigned long long)frame);
	close(fd);
	return flags & UINT64_C(1) << KPF_ZERO_PAGE ? 0 : frame;
}

uint64_t pages_frame_in(pid_t pid, const void *address)
{
	char path[64];
	uint64_t entry;
	int pagemap;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	test_check(pagemap >= 0, "%s: %s", path, strerror(errno));
	entry = entry_in(pagemap, address);
	close(pagemap);
	return frame_of(entry);
}

bool pages_is_file(const void *address)
{
	uint64_t entry = entry_of(address);

	return (entry & ENTRY_PRESENT) != 0 && (entry & ENTRY_FILE) != 0;
}

static uint64_t field_of(const char *path, const char *field)
{
	FILE *file = fopen(path, "re");
	unsigned long long kib = 0;
	char line[256];
	bool found = false;

	test_check(file != NULL, "%s: %s", path, strerror(errno));
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = strncmp(line, field, strlen(field)) == 0 && sscanf(line + strlen(field), "%llu", &kib) == 1;
	fclose(file);
	test_check(found, "%s has no %s", path, field);
	return kib * 1024;
}

uint64_t pages_meminfo(const char *field)
{
	return field_of("/proc/meminfo", field);
}

uint64_t pages_pinned(void)
{
	return field_of("/proc/self/status", "VmPin:");
}

uint64_t pages_rollup(const char *field)
{
	return field_of("/proc/self/smaps_rollup", field);
}

uint64_t pages_anonymous(const void *address, size_t length)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long long start = 0, end = 0, from, to, kib, total = 0;
	char line[512];

	test_check(file != NULL, "/proc/self/smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Anonymous: %llu", &kib) == 1) {
			if (start >= (uintptr_t)address && end <= (uintptr_t)address + length)
				total += kib * 1024;
		} else if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
			start = from;
			end = to;
		}
	}
	fclose(file);
	return total;
}

bool pages_has_flag(const void *address, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	bool inside = false, found = false;
	unsigned long long from, to;
	char line[512], word[8];

	test_check(file != NULL, "/proc/self/smaps: %s", strerror(errno));
	snprintf(word, sizeof(word), " %s ", flag);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			inside = from <= (uintptr_t)address && (uintptr_t)address < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, word) != NULL;
	}
	fclose(file);
	return found;
}

bool pages_fill_missing(void *address, uint64_t content)
{
	static char page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uint64_t)address, PAGE_BYTES },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_copy copy = { .dst = (uint64_t)address, .src = (uint64_t)page, .len = PAGE_BYTES };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	bool missing;

	test_check(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0, "userfaultfd: %s", strerror(errno));
	test_check(ioctl(fd, UFFDIO_REGISTER, &reg) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
	pages_fill(page, content);
	missing = ioctl(fd, UFFDIO_COPY, &copy) == 0;
	test_check(missing || errno == EEXIST, "UFFDIO_COPY: %s", strerror(errno));
	close(fd);
	return missing;
}

bool pages_read_empty(void)
{
	volatile char *page = pages_map(2, false);
	bool one;

	test_check(page[0] == 0 && page[PAGE_BYTES] == 0, "fresh memory is not empty");
	one = pages_frame((void *)page) == pages_frame((void *)(page + PAGE_BYTES));
	munmap((void *)page, 2 * PAGE_BYTES);
	return one;
}

unsigned pages_mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned lines = 0;
	int c;

	test_check(file != NULL, "/proc/self/maps: %s", strerror(errno));
	while ((c = fgetc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}
