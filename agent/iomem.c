/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/iomem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"

struct line {
	bool is_nested;
	uint64_t first, last; /* bytes, both in it */
	const char *name;
};

/* "  01000000-01ffffff : Kernel code" */
static int parse(char *text, struct line *ret)
{
	char *at = text + strspn(text, " "), *end;

	text[strcspn(text, "\n")] = 0;
	ret->is_nested = at > text;
	errno = 0;
	ret->first = strtoull(at, &end, 16);
	if (end == at || *end != '-')
		return -EINVAL;
	at = end + 1;
	ret->last = strtoull(at, &end, 16);
	if (end == at || errno != 0 || strncmp(end, " : ", 3) != 0 || ret->last < ret->first)
		return -EINVAL;
	ret->name = end + 3;
	return 0;
}

static struct agent_pages whole_pages(const struct line *line)
{
	uint64_t first = (line->first >> PAGE_SHIFT_BITS) + (line->first % PAGE_BYTES != 0);
	uint64_t end = (line->last >> PAGE_SHIFT_BITS) + (line->last % PAGE_BYTES == PAGE_BYTES - 1);

	return (struct agent_pages){ .first = first, .pages = end > first ? end - first : 0 };
}

static bool is_ram(const struct line *line)
{
	return !line->is_nested && strncmp(line->name, "System RAM", strlen("System RAM")) == 0;
}

/* What the kernel does not write, but for patches of its code now and then. */
static bool is_kernel(const struct line *line)
{
	return strcmp(line->name, "Kernel code") == 0 || strcmp(line->name, "Kernel rodata") == 0;
}

static int add(struct agent_pages *ranges, unsigned *count, unsigned most, struct agent_pages range)
{
	if (range.pages == 0)
		return 0;
	if (range.first >= AGENT_PFN_END || range.pages > AGENT_PFN_END - range.first)
		return -EINVAL;
	if (*count == most)
		return -E2BIG;
	if (*count > 0 && range.first < ranges[*count - 1].first + ranges[*count - 1].pages)
		return -EINVAL; /* the kernel sorts them */
	ranges[(*count)++] = range;
	return 0;
}

int iomem_read(FILE *file, struct iomem *ret, unsigned *ret_line)
{
	char text[256];
	bool is_hidden = false;
	int r = 0;

	ret->ram_count = ret->kernel_count = *ret_line = 0;
	while (r == 0 && fgets(text, sizeof(text), file) != NULL) {
		struct line line;

		*ret_line += 1;
		r = parse(text, &line);
		if (r < 0)
			break;
		if (is_ram(&line) && line.last == 0)
			is_hidden = true;
		else if (is_ram(&line))
			r = add(ret->ram, &ret->ram_count, AGENT_RAM_RANGES_MAX, whole_pages(&line));
		else if (is_kernel(&line) && line.last != 0)
			r = add(ret->kernel, &ret->kernel_count, IOMEM_KERNEL_MAX, whole_pages(&line));
	}
	if (r < 0)
		return r;
	if (ret->ram_count == 0)
		return is_hidden ? -EPERM : -ENODATA;
	return 0;
}
