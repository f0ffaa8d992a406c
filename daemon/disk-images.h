/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which disk image each page of a VM was read from, as its VMM reports: at most one byte for each of the VM's pages,
 * and RING_IMAGES_MAX names. It is shown to people only. Event loop only.
 */
#ifndef PAGEFUSE_DAEMON_DISK_IMAGES_H
#define PAGEFUSE_DAEMON_DISK_IMAGES_H

#include "daemon/labels.h"
#include "engine/engine.h"
#include "protocol/ring.h"
#include "protocol/wire.h"

/** All zero: to be begun. */
struct disk_images {
	struct labels labels;         /* modules are indices of names */
	char *names[RING_IMAGES_MAX]; /* NULL: not told yet */
};

/** Nothing is known: a connection begins. */
void disk_images_begin(struct disk_images *images);
void disk_images_done(struct disk_images *images);

/** A message that wire_check() has let through. Without memory the image has no name. */
void disk_images_name(struct disk_images *images, const struct wire_image *image);
/**
 * A report of @vm that ring_check_report() has let through, before the engine takes it. A page is of the image that it
 * was read from last, until it is read from somewhere else, or written.
 */
void disk_images_report(struct disk_images *images, struct engine_vm *vm, const struct ring_record *report);

#endif
