/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/disk-images.h"

#include <stdlib.h>
#include <string.h>

#ifndef STRANGE_PAGES_TAKEN /* at once, of those that a VM does not have: a test sees what they cost */
#define STRANGE_PAGES_TAKEN 0u
#endif

_Static_assert(RING_IMAGES_MAX <= LABELS_NARROW_MODULES_MAX, "a byte holds their indices");

void disk_images_done(struct disk_images *images)
{
	labels_done(&images->labels);
	for (unsigned i = 0; i < RING_IMAGES_MAX; i++)
		free(images->names[i]);
	memset(images->names, 0, sizeof(images->names));
}

void disk_images_begin(struct disk_images *images)
{
	disk_images_done(images);
	images->labels.narrow = true;
}

void disk_images_name(struct disk_images *images, const struct wire_image *image)
{
	char **name = &images->names[image->image - 1];

	free(*name);
	*name = strdup(image->label);
}

/* Only pages that the engine knows: others could be any number of them. */
static void set(struct disk_images *images, struct engine_vm *vm, const struct ring_record *report)
{
	if (report->count <= engine_region_pages(vm, report->page) + STRANGE_PAGES_TAKEN)
		labels_set(&images->labels, report->page, report->count, (uint32_t)report->value - 1);
}

void disk_images_report(struct disk_images *images, struct engine_vm *vm, const struct ring_record *report)
{
	switch (report->op) {
	case REPORT_SOURCE:
		set(images, vm, report);
		break;
	case REPORT_HASH:
	case REPORT_ZERO:
		if (report->flags & RING_NOTED) /* SOURCE follows, if it was an image */
			labels_clear(&images->labels, report->page, report->count);
		break;
	case REPORT_DIVERGED:
	case REPORT_GONE:
		labels_clear(&images->labels, report->page, report->count);
		break;
	case REPORT_REGION_REMOVE:
		labels_drop(&images->labels, report->page, engine_region_pages(vm, report->page));
		break;
	default:
		break;
	}
}
