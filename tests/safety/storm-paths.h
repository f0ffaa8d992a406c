/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File systems of storm.c, in a mount namespace of its own. */
#ifndef PAGEFUSE_TESTS_SAFETY_STORM_PATHS_H
#define PAGEFUSE_TESTS_SAFETY_STORM_PATHS_H

#define STORM_FOLDER "/mnt" /* on which a tmpfs is mounted */
#define STORM_FUSE_FOLDER STORM_FOLDER "/fuse"
#define STORM_OVERLAY_FOLDER STORM_FOLDER "/overlay"
#define STORM_OVERLAY_PATH STORM_OVERLAY_FOLDER "/file"

#endif
