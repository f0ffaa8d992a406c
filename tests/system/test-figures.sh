#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the figures say is so: a pass merges what is equal now, counters fall at once and never contradict each other,
# bytes left alone are those left alone now, and the documents of the CLI's tests have the shape of real ones.
#
# usage: test-figures.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

MERGEABLE_BYTES=$(((SAME_PAGES + 256) * 4096)) # of each VMM, as in vmm.c

status() {
	"$PAGEFUSE" status --json | jq -r "$1"
}

# holds FILTER WHAT: of the status, now.
holds() {
	local status
	status=$("$PAGEFUSE" status --json) || fail "status"
	[ "$(jq "$1" <<<"$status")" = true ] || fail "$2: $status"
}

is() {
	[ "$(status "$1")" = true ]
}

# Within one document nothing is counted twice, and parts add up to the whole.
consistent() {
	holds '(.vms | all(.shared_pages + .zero_pages + .diverged_pages <= .ram_bytes / 4096 and
			.shared_pages <= .present_pages)) and
		(.host.shared_pages == ([.vms[].shared_pages] | add)) and
		(.host.zero_pages == ([.vms[].zero_pages] | add)) and
		(.host.saved_pages == ([.vms[].saved_pages] | add)) and
		(.host.saved_pages == .host.shared_pages - .host.common_pages + .host.zero_pages)' \
		"counters contradict each other"
}

one_pass_merges_what_is_equal_now() {
	local round scan looks=0
	for round in 1 2 3; do
		[ "$(vmm_ask one rewrite)" = written ] && [ "$(vmm_ask two rewrite)" = written ] || fail "rewrite"
		"$PAGEFUSE" scan --wait >/dev/null &
		scan=$!
		while kill -0 "$scan" 2>/dev/null; do
			consistent
			looks=$((looks + 1))
		done
		wait "$scan" || fail "scan"
		consistent
		at_least "$(frames_shared one two)" $((2 * SAME_PAGES)) "pages that share a frame after pass $round"
	done
	echo "the counters agreed $looks times while passes went on"
	vmms_check one two
}

# shellcheck disable=SC2016 # for jq
withdrawing_is_told_at_once() {
	[ "$(vmm_ask one withdraw)" = withdrawn ] || fail "withdraw"
	wait_until "$DAEMON_SECONDS" is '[.vms[] | select(.name == "one")][0].shared_pages == 0' ||
		fail "what was withdrawn is counted as shared: $(status .)"
	holds '[.vms[] | select(.name == "one")][0].refused ==
		[{"reason": "mem-merge", "text": "no longer offered: withdrawn by the VMM (MADV_UNMERGEABLE)",
		  "bytes": '$MERGEABLE_BYTES'}]' "the bytes withdrawn are not all that is left alone"
	consistent
	doctor_says 0 one mem-merge
	[ "$(vmm_ask one offer)" = offered ] || fail "offer"
	wait_until "$DAEMON_SECONDS" is '[.vms[] | select(.name == "one")][0].refused == []' ||
		fail "offered again, and still left alone"
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared one two)" $((2 * SAME_PAGES)) "pages that share a frame once offered again"
	vmms_check one two
}

# kB of a VMM's memory that its page table has mapped to files of the store, and to no memory of its own.
fused_kb() {
	echo $((4 * $(census store_pages "$1")))
}

# metric_kb OBJECT METRIC: its value now.
metric_kb() {
	"$PAGEFUSE" metrics query --json "$1" "$2" | jq '.metrics[0].values[-1]'
}

metrics_are_so() {
	local one two
	one=$(fused_kb one) two=$(fused_kb two)
	[ "$(metric_kb one Guest/RAM/Usage/Shared)" = "$one" ] &&
		[ "$(metric_kb two Guest/RAM/Usage/Shared)" = "$two" ] &&
		[ "$(metric_kb host RAM/VMM/Shared)" = $((one + two)) ]
}

# Counters by VirtualBox's names, which there did not fall on copy-on-write, and left out the first VM.
metrics_are_what_is_mapped() {
	local before after
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	vmms_check one two # reads all, so all is in the page tables
	wait_until "$DAEMON_SECONDS" metrics_are_so ||
		fail "of one $(fused_kb one) kB are fused: $("$PAGEFUSE" metrics query '*' '*/Shared')"
	before=$(metric_kb one Guest/RAM/Usage/Shared)
	at_least "$before" $((4 * SAME_PAGES)) "kB of one that are fused, by its metric"
	[ "$(vmm_ask one write)" = written ] || fail "write"
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	wait_until "$DAEMON_SECONDS" metrics_are_so ||
		fail "after writes $(fused_kb one) kB are fused: $("$PAGEFUSE" metrics query '*' '*/Shared')"
	after=$(metric_kb one Guest/RAM/Usage/Shared)
	at_least $((before - after)) $((4 * SAME_PAGES / 8)) "kB that it fell by, by writes"
	vmms_check one two
}

# What the CLI's tests feed it has the fields that a real daemon sends, each of the same kind.
documents_have_the_shape_of_real_ones() {
	local shape='def shape: if type == "object" then map_values(shape)
		elif type == "array" then map(shape) | unique else type end;
		.vms |= map(.refused = []) | shape'
	local real fixture
	real=$("$PAGEFUSE" status --json | jq -cS "$shape")
	fixture=$(jq -cS "$shape" tests/cli/status.json)
	[ "$real" = "$fixture" ] || fail "the daemon's document is like $real, that of the tests like $fixture"
}

sampled() {
	[ "$("$PAGEFUSE" metrics query --json "$1" "$2" | jq '.metrics[0].values | length')" -ge 2 ]
}

# A page with what is shared, what is common to the two, and samples; and its document is of the form of its tests.
# shellcheck disable=SC2016 # for jq
report_is_of_these() {
	local folder shape='def shape: if type == "object" then map_values(shape)
		elif type == "array" then map(shape) | unique else type end;
		.modules.modules = [] | .doctor.findings = [] | .status = {} |
		.estimate.vms |= map(.looked_seconds = 0) | shape'
	"$PAGEFUSE" metrics setup --period 1 --samples 60 '*' '*/Shared,RAM/VMM/Used' || fail "metrics setup"
	wait_until "$DAEMON_SECONDS" sampled host RAM/VMM/Used || fail "no samples of the host"
	wait_until "$DAEMON_SECONDS" sampled two Guest/RAM/Usage/Shared || fail "no samples of a VM"
	folder=$(mktemp -d) || fail "mktemp"
	"$PAGEFUSE" report --json >"$folder/document" || fail "report --json"
	"$PAGEFUSE" report --output "$folder/page" || fail "report"
	tests/cli/report-page.py "$folder/page" || fail "the page"
	grep -qF '<bdi>two</bdi>' "$folder/page" || fail "the page does not name a VM"
	jq -e --argjson least "$((SAME_PAGES * 3 / 4))" '(.status.vms | map(.name) == ["one", "two"]) and
		(.samples | map([.object, .metric]) |
			contains([["host", "RAM/VMM/Used"], ["two", "Guest/RAM/Usage/Shared"]])) and
		(.estimate.pairs | length == 1 and .[0].common_pages >= $least) and
		(.doctor.errors == 0)' "$folder/document" >/dev/null || fail "report: $(cat "$folder/document")"
	[ "$(jq -cS "$shape" "$folder/document")" = "$(tests/cli/report-document.sh | jq -cS "$shape")" ] ||
		fail "the report's document is like $(jq -cS "$shape" "$folder/document")"
	rm -r "$folder"
	"$PAGEFUSE" metrics disable || fail "metrics disable"
}

# The daemon's figure has a fraction, which must not make it nothing.
uptime_is_told() {
	local first
	wait_until "$DAEMON_SECONDS" is '.daemon.uptime_seconds >= 1' || fail "no uptime in $(status .daemon)"
	first=$("$PAGEFUSE" status | head -n 1)
	case $first in
	*' up 0s,'* | *' up ,'*) fail "the daemon has been up for longer: $first" ;;
	*' up '*) ;;
	*) fail "no uptime in: $first" ;;
	esac
}

daemon_open "$build" '[scan]' 'interval_seconds = 1' 'audit_interval_seconds = 1' || exit 1
kernel_can_share || { echo "skipped: this kernel cannot move pages by userfaultfd"; exit 77; }
vmm_start one 0
vmm_start two 0
one_pass_merges_what_is_equal_now
withdrawing_is_told_at_once
metrics_are_what_is_mapped
documents_have_the_shape_of_real_ones
# tests/kernels has no Python in its systems.
if type -P python3 >/dev/null; then report_is_of_these; else echo "the report was not looked at: no python3 here"; fi
uptime_is_told
vmm_end one
vmm_end two
echo "all right"
