/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disk images from which the VMM reads guest RAM: regular files and block devices, with a number for each path.
 * They only serve to show people how much is shared from each; a wrong name does no harm.
 */
#ifndef PAGEFUSE_LIBRARY_IMAGES_H
#define PAGEFUSE_LIBRARY_IMAGES_H

#include <stdint.h>

struct session;

/**
 * The number of the image that descriptor @fd leads to, up to RING_IMAGES_MAX. Any thread, also in a signal handler; no
 * lock; system calls only for a descriptor that was not read from before. @return 0: no image, or an unknown one.
 */
uint8_t images_of(int fd);
/** Descriptors [first, last] are about to be closed, or to become other files. Any thread, as above. */
void images_forget(unsigned first, unsigned last);

/** A new session: the daemon knows no images. Worker. */
void images_tell_anew(void);
/** Tells the daemon of images that it does not know. Worker. @return 0 or -errno. */
int images_tell(struct session *session);

#endif
