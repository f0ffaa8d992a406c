/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The values of the metrics by VirtualBox's names (protocol/metrics.h), of the host and of VMs. What the engines count
 * is taken at once, of one moment, as the status document has it. What the kernel says of each process costs a few
 * system calls, so those are looked at one by one, in as many turns of the loop as their number needs.
 */
#ifndef PAGEFUSE_DAEMON_SERIES_H
#define PAGEFUSE_DAEMON_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/domain.h"
#include "daemon/vm.h"
#include "protocol/metrics.h"
#include "protocol/wire.h"

struct series_vm {
	char name[WIRE_NAME_MAX];
	pid_t pid;
	int64_t kb[SERIES_END]; /* of the metrics of VMs */
};

struct series_view {
	int64_t host_kb[SERIES_END]; /* of those of the host; complete when each VM has been looked at */
	struct series_vm *vms;
	size_t count;
};

/** Which figures are wanted: domains to sum up for the host, and VMs. */
struct series_wish {
	bool (*has_domain)(const struct series_wish *wish, const struct domain *domain);
	bool (*has_vm)(const struct series_wish *wish, const struct daemon_vm *vm);
};

/** Takes a view, which series_done() frees. @return 0 or -ENOMEM. */
int series_take(struct series_view *ret, const struct domains *domains, const struct series_wish *wish);
/** Asks the kernel about VM @i, once for each. @return the VM, or NULL: it is gone, and its values mean nothing. */
struct daemon_vm *series_look(struct series_view *view, const struct domains *domains, size_t i);
void series_done(struct series_view *view);

#endif
