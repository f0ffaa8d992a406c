/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes samples of the metrics that were set up, of the host and of VMs, once a second at most. A round begins with a
 * look at each VM and goes on with SAMPLER_VMS_PER_TURN in a turn of the loop; while nothing is set up there is no
 * timer. A late round is not made up for.
 */
#ifndef PAGEFUSE_DAEMON_SAMPLER_H
#define PAGEFUSE_DAEMON_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "daemon/domain.h"
#include "daemon/samples.h"
#include "daemon/series.h"

#define SAMPLER_VMS_PER_TURN 64

struct sampler {
	const struct domains *domains;
	sd_event_source *timer;
	struct samples *host; /* of all domains. Those of a VM are in struct daemon_vm */

	/* The round that goes on: */
	struct series_wish wish;
	bool going;
	bool all_vms; /* the host's figures need each */
	uint64_t now_seconds;
	struct series_view view;
	size_t next; /* VM of the view */
};

/** @domains: have their event. @return 0 or -errno; sampler_stop() has to follow in either case. */
int sampler_start(struct sampler *sampler, const struct domains *domains);
void sampler_stop(struct sampler *sampler);

/** Something has been set up, or enabled. */
void sampler_wake(struct sampler *sampler);

#endif
