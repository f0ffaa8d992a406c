/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/template.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/page.h"
#include "library/descriptors.h"
#include "library/kernel.h"
#include "library/own.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/view.h"

#define SEGMENT_BYTES (VIEW_SEGMENT_SLOTS * PAGE_BYTES)

static struct template
{
	uint64_t base; /* 0: free */
	uint32_t segment;
	uint64_t asked; /* when, in calls of template_at() */
}
templates[TEMPLATES_MAX];
static uint64_t calls;

static void unmap(struct template *template)
{
	if (template->base != 0)
		sys_munmap(template->base, SEGMENT_BYTES);
	template->base = 0;
}

/** What the VMM may have in addresses is its own, where that is limited. */
static bool addresses_are_limited(void)
{
	struct rlimit all, data;

	return getrlimit(RLIMIT_AS, &all) < 0 || all.rlim_cur != RLIM_INFINITY || getrlimit(RLIMIT_DATA, &data) < 0 ||
	       data.rlim_cur != RLIM_INFINITY;
}

static void map(struct template *template, uint32_t slot)
{
	const struct descriptor *file;
	uint64_t offset, page;
	long base;

	if (addresses_are_limited() || view_place(slot, &file, &offset) < 0)
		return;
	base = own_map(SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor_number(file));
	if (sys_is_error(base))
		return;
	template->base = (uint64_t)base;
	template->segment = slot / VIEW_SEGMENT_SLOTS;
	page = template->base + offset; /* of a slot that is in use: a free one would be given memory */
	if (!descriptor_is_there(file) || sys_madvise(template->base, SEGMENT_BYTES, MADV_DONTFORK) < 0 ||
	    sys_madvise(template->base, SEGMENT_BYTES, MADV_DONTDUMP) < 0 ||
	    sys_madvise(page, PAGE_BYTES, MADV_POPULATE_WRITE) < 0 || sys_madvise(page, PAGE_BYTES, MADV_DONTNEED) < 0)
		unmap(template);
}

uint64_t template_at(uint32_t slot)
{
	struct template *oldest = &templates[0], *found = NULL;

	if (!PROTECTED(PROTECT_CORES))
		return 0;
	for (unsigned i = 0; i < TEMPLATES_MAX && found == NULL; i++) {
		struct template *template = &templates[i];

		if (template->base != 0 && template->segment == slot / VIEW_SEGMENT_SLOTS)
			found = template;
		if (template->base == 0 || (oldest->base != 0 && template->asked < oldest->asked))
			oldest = template;
	}
	if (found == NULL) {
		found = oldest;
		unmap(found);
		map(found, slot);
	}
	found->asked = ++calls;
	return found->base != 0 ? found->base + slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES : 0;
}

void template_drop(uint32_t segment)
{
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		if (templates[i].base != 0 && templates[i].segment == segment)
			unmap(&templates[i]);
}

void template_drop_all(void)
{
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		unmap(&templates[i]);
}

void template_forget(void)
{
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		templates[i].base = 0;
}
