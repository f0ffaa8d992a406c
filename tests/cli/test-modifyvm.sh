#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# modifyvm says what is shared from now on, and with --wait stays until a VM has memory of its own.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

modified() { # MODE PAGES
	printf '{"name": "web1", "mode": "%s", "unsharing_pages": %s}' "$1" "$2"
}

status_with() { # PAGES
	jq -c --argjson pages "$1" '.vms[0].unsharing_pages = $pages' <<<"$STATUS"
}

start_daemon "{\"modify\": [$(modified off 512), $(modified full 0), $(modified hints 0)]}"
run 0 modifyvm web1 --page-fusion off
equal 'off' 'web1: mode off; 512 pages are being given memory of their own' "$output"
equal 'the request' '{"command":"modify","name":"web1","mode":"off"}' "$(tail -n 1 "$directory/requests")"
run 0 modifyvm --page-fusion on web1
equal 'on' 'web1: mode full' "$output"
equal 'the request' '{"command":"modify","name":"web1","mode":"full"}' "$(tail -n 1 "$directory/requests")"
run 0 modifyvm web1 --mode hints --json
json '.mode == "hints" and .unsharing_pages == 0'

start_daemon "{\"modify\": [$(modified off 512)],
	\"status\": [$(status_with 512), $(status_with 40), $(status_with 0)]}"
run 0 modifyvm --wait --page-fusion off web1
equal 'off, waited for' 'web1: mode off' "$output"
equal 'questions' 3 "$(grep -c '"status"' "$directory/requests")"

start_daemon "{\"modify\": [$(modified off 512)], \"status\": [$(jq -c '.vms = []' <<<"$STATUS")]}"
complains 1 "'web1' has ended" modifyvm --wait --page-fusion off web1
end
