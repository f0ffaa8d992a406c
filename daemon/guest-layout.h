/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where QEMU puts a PC's RAM, for VMs whose VMM does not report it: those without KVM. RAM is one block. Its first part
 * is at 0; the rest, if it does not fit below the PCI hole, is at 4 GiB. Where it is divided follows from where the
 * guest's RAM ends. This is a guess from what the guest reports; beacons confirm it before it is used.
 */
#ifndef PAGEFUSE_DAEMON_GUEST_LAYOUT_H
#define PAGEFUSE_DAEMON_GUEST_LAYOUT_H

#include <stdint.h>

#include "protocol/agent.h"
#include "protocol/wire.h"

#define GUEST_LAYOUT_RANGES 2

/**
 * @ram: where the guest has RAM, ascending. [@page, @page + @pages) are the block's page numbers.
 * @return how many ranges there are in @ret; 0: this is no such PC.
 */
uint32_t guest_layout_of_pc(const struct agent_pages *ram, uint32_t count, uint32_t page, uint32_t pages,
			    struct wire_range ret[GUEST_LAYOUT_RANGES]);

#endif
