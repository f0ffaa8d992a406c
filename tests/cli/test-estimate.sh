#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# estimate asks until the daemon has made one, and shows it as tables or as JSON.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

# unfinished DONE: while it is made.
unfinished() {
	printf '{"finished": false, "since": 9007199254740000, "done_pages": %s, "total_pages": 200}' "$1"
}

# The members are those of docs/design/control.md; tests/daemon/estimate.c has them from the daemon.
MADE=$(jq -nc '{ram_bytes: 2147483648, present_pages: 131072, zero_pages: 256, would_zero_pages: 512} as $figures | {
	finished: true, since: 9007199254740000, pairs_left_out: 7,
	domains: [$figures + {name: "uid-0", age_seconds: 0.5, vms: 3, pair_vms: 3, one_in: 4, looked_pages: 393216,
		common_pages: 2560, saved_pages: 2816, shared_pages: 5120, would_share_pages: 12800,
		would_save_pages: 13312}],
	vms: [$figures + {name: "web1", domain: "uid-0", mode: "full", estimated: true, looked_seconds: 75.2,
			looked_pages: 131072, shared_pages: 2560, would_share_pages: 6400, would_save_pages: 6912},
		$figures + {name: "db2", domain: "uid-0", mode: "zero", estimated: true, looked_seconds: null,
			looked_pages: 768, shared_pages: 0, would_share_pages: 0, would_save_pages: 512},
		{name: "new3", domain: "uid-0", mode: "full", estimated: false}],
	pairs: [{names: ["web1", "db2"], domain: "uid-0", common_pages: 7680, shared_pages: 1280}]}')

start_daemon "{\"estimate\": [$(unfinished 0), $(unfinished 150), $MADE]}"
run 0 estimate
equal 'no bar without a terminal' '' "$complaint"
equal 'questions' 3 "$(wc -l <"$directory/requests")"
equal 'the first one' '{"command":"estimate","names":[],"pairs":10,"look":false}' "$(head -n 1 "$directory/requests")"
equal 'the last one' '{"command":"estimate","names":[],"pairs":10,"look":false,"since":9007199254740000}' \
	"$(tail -n 1 "$directory/requests")"
equal 'the domain' 'uid-0 3 11M 50M 2M 52M 4' "$(grep '^uid-0' <<<"$output" | xargs)"
equal 'a VM' 'web1 uid-0 full 512M 512M 10M 1M 25M 2M 27M 1m15s' "$(grep '^web1 *uid' <<<"$output" | xargs)"
equal 'one with no pass' 'db2 uid-0 zero 512M 3M 0 1M 0 2M 2M none' "$(grep '^db2 ' <<<"$output" | xargs)"
equal 'one that came later' 'new3 uid-0 full came later' "$(grep '^new3' <<<"$output" | xargs)"
equal 'a pair' 'web1 db2 uid-0 30M 5M' "$(grep '^web1 *db2' <<<"$output" | xargs)"
prints '7 more pairs have less in common; --pairs shows up to 1000.'
prints 'db2: only 3M of 512M were looked at, in mode zero; --look looks at all.'
equal 'VMs of which little is known' 1 "$(grep -c 'looked at, in mode' <<<"$output")"

run 0 estimate --look --json --pairs 0 web1 db2
json '.vms[0].would_save_pages == 6912 and .pairs[0].common_pages == 7680 and .pairs_left_out == 7'
json '(has("finished") or has("since")) | not'
equal 'the request' '{"command":"estimate","names":["web1","db2"],"pairs":0,"look":true}' \
	"$(tail -n 1 "$directory/requests")"

# Of VMs among which there are others'.
others=$(jq -c '(.vms[0], .domains[0]) |= . + {would_share_pages: null, would_save_pages: null}' <<<"$MADE")
start_daemon "{\"estimate\": [$others]}"
run 0 estimate
equal 'the domain' 'uid-0 3 11M - 2M - 4' "$(grep '^uid-0' <<<"$output" | xargs)"
equal 'a VM' 'web1 uid-0 full 512M 512M 10M 1M - 2M - 1m15s' "$(grep '^web1 *uid' <<<"$output" | xargs)"

start_daemon '{"estimate": [{"finished": true, "domains": [], "vms": [], "pairs_left_out": 0, "pairs": []}]}'
run 0 estimate
prints 'There is no VM to tell of'
run 0 estimate --json
json '. == {"domains": [], "vms": [], "pairs_left_out": 0, "pairs": []}'

start_daemon '{"estimate": [{"error": {"code": "not-permitted", "message": "this VM belongs to another user",
	"value": "web1"}}]}'
complains 1 'belongs to another user' estimate web1
start_daemon '{"estimate": [{}]}'
complains 1 'does not speak this protocol' estimate
start_daemon "{\"estimate\": [$(unfinished 0), \"close\"]}"
complains 3 'has closed the connection' estimate
end
