/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which disk images the VMM reads guest RAM from: regular files and block devices, which have a number for each path.
 * It is of use for people only, who are shown what is shared of each; a wrong name does no harm.
 */
#ifndef PAGEFUSE_LIBRARY_IMAGES_H
#define PAGEFUSE_LIBRARY_IMAGES_H

#include <stdint.h>

struct session;

/**
 * The number of the image that descriptor @fd leads to, up to RING_IMAGES_MAX. Any thread, also in a signal handler; no
 * lock; system calls only for a descriptor that was not read from before. @return 0: none, or none that is known.
 */
uint8_t images_of(int fd);
/** Descriptors [first, last] are about to be closed, or other files. Any thread, as above. */
void images_forget(unsigned first, unsigned last);

/** A new session: the daemon knows none. Worker. */
void images_tell_anew(void);
/** Tells the daemon of those that it does not know. Worker. @return 0 or -errno. */
int images_tell(struct session *session);

#endif
