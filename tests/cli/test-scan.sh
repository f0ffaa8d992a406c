#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# scan starts passes, and with --wait stays until they are over.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

TICKETS='{"tickets": [{"name": "web1", "ticket": 5}, {"name": "db2", "ticket": 9007199254740993}]}'

# progress DONE FINISHED GONE: of db2; web1 is over.
progress() {
	printf '{"vms": [{"name": "web1", "done_pages": 100, "total_pages": 100, "finished": true, "gone": false},
		{"name": "db2", "done_pages": %s, "total_pages": 200, "finished": %s, "gone": %s}]}' "$1" "$2" "$3"
}

start_daemon "{\"scan\": [$TICKETS]}"
run 0 scan
equal 'scan' $'web1: pass started\ndb2: pass started' "$output"
equal 'the request' '{"command":"scan","names":[]}' "$(tail -n 1 "$directory/requests")"
run 0 scan --json web1 db2
json '.tickets[1] == {"name":"db2","ticket":9007199254740993}'
equal 'the request' '{"command":"scan","names":["web1","db2"]}' "$(tail -n 1 "$directory/requests")"

start_daemon "{\"scan\": [$TICKETS], \"scan-progress\": [
	$(progress 50 false false), $(progress 200 false false), $(progress 200 true false)]}"
run 0 scan --wait
equal 'scan --wait' $'web1: pass over 100 pages finished\ndb2: pass over 200 pages finished' "$output"
equal 'no bar without a terminal' '' "$complaint"
equal 'questions' 3 "$(grep -c scan-progress "$directory/requests")"
equal 'the question' '{"command":"scan-progress","tickets":[5,9007199254740993]}' "$(tail -n 1 "$directory/requests")"
run 0 scan --json --wait db2
json '.vms | length == 2 and all(.finished)'

start_daemon "{\"scan\": [$TICKETS], \"scan-progress\": [$(progress 50 false true | sed 's/db2//')]}"
run 1 scan --wait
equal 'what did finish' 'web1: pass over 100 pages finished' "$output"
case $complaint in *"'db2' ended before"*) ;; *) fail "no word of db2: $complaint" ;; esac

start_daemon "{\"scan\": [$TICKETS], \"scan-progress\": [$(progress 50 false false), \"close\"]}"
complains 3 'has closed the connection' scan --wait

start_daemon "{\"scan\": [$TICKETS], \"scan-progress\": [{\"vms\": []}]}"
complains 1 'does not speak this protocol' scan --wait

# A VM without a connection gets ticket 0.
start_daemon '{"scan": [{"tickets": [{"name": "web1", "ticket": 0}]}],
	"scan-progress": [{"vms": [{"name": "", "done_pages": 0, "total_pages": 0, "finished": false, "gone": true}]}]}'
complains 1 "'web1' is not connected" scan web1
complains 1 "'web1' is not connected" scan --wait web1

# More VMs than fit one request.
start_daemon "$(jq -nc '{scan: [{tickets: [range(1; 2501) | {name: "vm\(.)", ticket: .}]}],
	"scan-progress": [range(0; 3) | {vms: [range(. * 1000 + 1; [2501, . * 1000 + 1001] | min) |
		{name: "vm\(.)", done_pages: 1, total_pages: 1, finished: true, gone: false}]}]}')"
run 0 scan --wait
equal 'passes' 2500 "$(grep -c finished <<<"$output")"
equal 'requests' 3 "$(grep -c scan-progress "$directory/requests")"

# Nothing to scan is no fault.
start_daemon '{"scan": [{"tickets": []}], "scan-progress": [{"vms": []}]}'
run 0 scan --wait
equal 'scan of none' '' "$output"
end
