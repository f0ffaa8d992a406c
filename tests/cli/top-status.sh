# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What a fake daemon says to `pagefuse top`: three VMs, and two seconds later again. Sourced behind support.sh.

TOP_FIRST=$(jq -c '.vms += [.vms[0] | .name = "web2" | .pid = 999999993 | .shared_pages = 40000 |
	.saved_pages = 30000]' <<<"$STATUS")
TOP_SECOND=$(jq -c '.daemon.uptime_seconds += 2 | .vms[0].diverged_pages += 51 | .vms[0].worker_cpu_seconds += 0.25 |
	.vms[1].exposure_held = true | .vms[2].pid += 1 | .vms[2].diverged_pages = 0' <<<"$TOP_FIRST")
# shellcheck disable=SC2034 # used by those who source this
TOP_SCRIPT="{\"status\": [$TOP_FIRST, $TOP_SECOND]}"
