#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# modules shows what agents have named, as a table or a document, and says who names nothing.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

sum() { # PAGES SHARED SAVED
	printf '"pages": %s, "shared_pages": %s, "saved_pages": %s' "$@"
}

modules() { # VMS_WITH_AGENT MODULES_COUNT MODULE...
	local agents=$1 count=$2
	shift 2
	printf '{"vms": 3, "vms_with_agent": %s, "shared_pages": 262144, "named": {%s}, "modules_count": %s,
		"rest": {%s}, "modules": [%s]}' "$agents" "$(sum 300000 131072 100000)" "$count" "$(sum 9 8 2560)" \
		"$(IFS=,; echo "$*")"
}

module() { # KIND LABEL VMS PAGES SHARED SAVED
	printf '{"kind": "%s", "label": "%s", "vms": %s, %s}' "$1" "$2" "$3" "$(sum "$4" "$5" "$6")"
}

libc=$(module program /usr/lib/libc.so.6 3 1536 1280 1024)
kernel=$(module kernel 'Linux 6.12' 2 5120 5120 2560)

start_daemon "{\"modules\": [$(modules 2 2 "$kernel" "$libc"), $(modules 2 42 "$kernel"), $(modules 0 0)]}"
run 0 modules
equal 'the table' '  SAVED SHARED NAMED VMS KIND    WHAT
  10.0M  20.0M 20.0M   2 kernel  Linux 6.12
  4.00M  5.00M 6.00M   3 program /usr/lib/libc.so.6
2 of 3 VMs have an agent that names pages: 512M of the 1.00G that are shared' "$output"
equal 'the request' '{"command":"modules","most":40}' "$(tail -n 1 "$directory/requests")"
run 0 modules --all web1
prints 'and 41 more, which save 10.0M; --all shows them'
equal 'the request' '{"command":"modules","most":65536,"name":"web1"}' "$(tail -n 1 "$directory/requests")"
run 0 modules
equal 'nobody names anything' '' "$output"
grep -qF 'pagefuse-agent(8)' <<<"$complaint" || fail "nothing is said of agents: $complaint"

start_daemon "{\"modules\": [$(modules 2 2 "$kernel" "$libc"),
	{\"error\": {\"code\": \"unknown-vm\", \"message\": \"there is no VM of this name\", \"value\": \"web9\"}}]}"
run 0 modules --json
json '.modules[1].label == "/usr/lib/libc.so.6" and .rest.saved_pages == 2560'
equal 'the request' '{"command":"modules","most":65536}' "$(tail -n 1 "$directory/requests")"
complains 1 "'web9'" modules web9
complains 2 "'two': modules takes one" modules one two
