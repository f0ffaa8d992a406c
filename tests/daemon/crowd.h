/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thousand VMs of one daemon, "vm", "vm-2" to "vm-1000": each has pages that all others have too, some that are
 * full of zeros, and some that nobody else has. Pages of 4 KiB.
 */
#ifndef PAGEFUSE_TESTS_DAEMON_CROWD_H
#define PAGEFUSE_TESTS_DAEMON_CROWD_H

#include "tests/daemon/instance.h"

#define CROWD_VMS 1000u
#define CROWD_COMMON 96u /* pages of each */
#define CROWD_ZERO 16u
#define CROWD_UNIQUE 16u
/** Settings that let so many be of one user. */
#define CROWD_LIMITS "[limits]\nconnections_per_user = 2000\nuser_rings_percent = 0\n"

/** Starts them all, at @instance, which runs. One crowd at a time. */
void crowd_start(const struct instance *instance);
/** Waits until each of them has shared what there is to share. */
void crowd_await_shared(void);
/** Ends them all. */
void crowd_stop(void);

#endif
