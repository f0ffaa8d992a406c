/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagefused's settings and the file that changes them, /etc/pagefuse/pagefused.conf if no other is named.
 *
 *   [scan]
 *   interval_seconds       = N     time for one slow pass over a VM, 0: none        0 .. 604800
 *   audit_interval_seconds = N     how often to look for pages that diverged,
 *                                  0: only with scans                               0 .. 604800
 *   cpu_percent            = N     at most this share of a core for a VM's pass     1 .. 100
 *   [store]
 *   kind                   = K     auto, tmpfs or memfd                             auto
 *   size                   = S     of the tmpfs: bytes (K, M, G, T) or N% of RAM    100%
 *   [limits]
 *   vm_store_size          = S     memory that one VM's pages may bring into the store
 *   vm_ram_size            = S     RAM that one VM may register
 *   connections_per_user   = N     open connections of one user                     1 .. 65536, 1024
 *
 * The defaults without a figure here are engine_settings_default()'s.
 */
#ifndef PAGEFUSE_DAEMON_CONFIG_H
#define PAGEFUSE_DAEMON_CONFIG_H

#include <stddef.h>

#include "daemon/store.h"
#include "engine/engine.h"

#define CONFIG_PATH "/etc/pagefuse/pagefused.conf"

struct config {
	struct engine_settings engine;
	struct store_settings store;
	uint32_t connections_per_user;
};

void config_default(struct config *config);

/**
 * Applies the file at @path to @config. A bad line is an error: nothing is guessed.
 * @ret_error: one line for a person if the result is not 0. @return 0, -EINVAL (content), -errno (cannot be read).
 */
int config_read(struct config *config, const char *path, char *ret_error, size_t error_size);

#endif
