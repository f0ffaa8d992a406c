#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# status, list and showvminfo show what the daemon says, for people and as JSON.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

start_daemon "{\"status\": [$STATUS]}"
run 0 status
prints 'pagefused 77: up 1h02m, 1.5s CPU, 3M memory, store on tmpfs'
prints 'PSHARE/MB: 200 shared, 50 common, 10 zero: 160 saving'
prints 'STORE/MB:  50 store, 4 overhead'
prints 'MEM/MB:    24064 total, 900 free, 943 minfree: clear state (high above 3772, clear below 943, '\
'soft 604, hard 302, low 151)'
prints 'EXPOSE/MB: 210 exposed, 900 free, 100 swap free: covered'
equal 'the table' 'web1 999999991 uid-0 full 512M 250M 100M 5M 80M 105M 4M 48K 9000 180us 0.2s idle' \
	"$(grep '^web1' <<<"$output" | xargs)"
grep -q '^db2 .* scanning$' <<<"$output" || fail 'db2 is not scanning'

run 0 status --by domain
equal 'the table by domain' 'uid-0 1 100M 25M 5M 80M 105M 25M' "$(grep '^uid-0' <<<"$output" | xargs)"
equal 'lines by domain' 3 "$(sed '1,/^$/d' <<<"$output" | wc -l)"
run 2 status --by colour

run 0 status --json
equal 'status --json' "$(jq -cS . <<<"$STATUS")" "$(jq -cS . <<<"$output")"
equal 'the request' '{"command":"status"}' "$(tail -n 1 "$directory/requests")"

start_daemon "{\"status\": [$(jq -c '.host.store_full = true' <<<"$STATUS")]}"
run 0 status
prints 'STORE/MB:  50 store, 4 overhead; full: nothing new is shared until there is room'
start_daemon "{\"status\": [$(jq -c '.memory = {"state": "soft", "error": "/x: No such file"}' <<<"$STATUS")]}"
run 0 status
prints 'MEM/MB:    soft state; no new figures: /x: No such file'
equal 'exposure without figures' 'EXPOSE/MB: 210 exposed' "$(grep EXPOSE/ <<<"$output")"
start_daemon "{\"status\": [$(jq -c '.host.uncovered_bytes = 9437184' <<<"$STATUS")]}"
run 0 status
prints 'EXPOSE/MB: 210 exposed, 900 free, 100 swap free: 9 not covered, if guests write all that is shared'
start_daemon "{\"status\": [$(jq -c '.host.exposure_held_vms = 1 | .vms[0].exposure_held = true |
	.memory.exposure_max = "256M" | .memory.exposure_max_bytes = 268435456' <<<"$STATUS")]}"
run 0 status
prints 'EXPOSE/MB: 210 exposed, 900 free, 100 swap free: covered, 256 max; nothing new is shared of 1 of the VMs'
grep -q '^web1 .* see doctor$' <<<"$output" || fail 'nothing tells to ask doctor'
run 0 showvminfo web1
prints 'Held:                    nothing new is shared of it, as it has its share of exposure_max'
start_daemon "{\"status\": [$(jq -c 'del(.memory, .host.exposed_pages)' <<<"$STATUS")]}" # of an earlier release
run 0 status
equal 'no line of memory' 0 "$(grep -c 'MEM/MB\|EXPOSE/MB' <<<"$output")"
start_daemon "{\"status\": [$STATUS]}"

run 0 list
equal list $'web1\ndb2' "$output"
run 0 list --json
json '.vms == [{"name": "web1", "domain": "uid-0", "pid": 999999991, "uid": 0, "mode": "full"},
	{"name": "db2", "domain": "team", "pid": 999999992, "uid": 1000, "mode": "zero"}]'

run 0 showvminfo db2
prints 'Name:                    db2'
prints 'Domain:                  team'
prints 'Page Fusion:             enabled, mode zero (kept by modifyvm)'
prints 'Process:                 999999992 of uid 1000'
prints 'Shared:                  25600 pages (100M)'
prints 'Exposed:                 26880 pages (105M)'
prints 'Split 2 MiB pages:       10'
prints 'Would save:              1024 pages (4M)'
prints 'Mappings:                64000 of 65530'
prints 'Left alone:              2M locked by mlock or mlockall (locked)'
run 0 showvminfo web1
prints 'UUID:                    6ba7b810-9dad-11d1-80b4-00c04fd430c8'
prints 'Page Fusion:             enabled, mode full'
run 0 showvminfo --json web1
json '.name == "web1" and .saved_pages == 20480 and .refused == []'

start_daemon "{\"status\": [$(jq -c '.vms[0].mode = "off" | .vms |= map(.mode_by_settings = true)' <<<"$STATUS")]}"
run 0 showvminfo web1
prints 'Page Fusion:             disabled, mode off (by [vms] preload_mode)
To share it:             pagefuse modifyvm web1 --page-fusion on'
# Whoever starts a VM names it, and somebody else pastes the command.
# shellcheck disable=SC2016 # nobody shall expand that
start_daemon "$(jq -c '{status: [.vms[0].mode = "off" | .vms[0].name = "-S$(id)"]}' <<<"$STATUS")"
# shellcheck disable=SC2016
run 0 showvminfo -- '-S$(id)'
prints "To share it:             pagefuse modifyvm --page-fusion on -- '-S\$(id)'"

# The answer in many pieces.
start_daemon "{\"status\": [$STATUS], \"chunk\": 7}"
run 0 status --json
equal 'status --json in pieces' "$(jq -cS . <<<"$STATUS")" "$(jq -cS . <<<"$output")"

start_daemon "{\"status\": [$EMPTY_STATUS]}"
run 0 status
prints 'No VM shares memory yet'
start_daemon "{\"status\": [$(jq -c '.vms = []' <<<"$STATUS")]}"
run 0 status
prints 'None of your VMs shares memory yet; those of other users are shown to root.'
start_daemon "{\"status\": [$EMPTY_STATUS, $EMPTY_STATUS, $EMPTY_STATUS]}"
run 0 list
equal 'list of none' '' "$output"
run 0 list --json
json '.vms == []'

# Three looks, then the daemon goes away.
start_daemon "{\"status\": [$STATUS, $STATUS, $EMPTY_STATUS, \"close\"]}"
run 3 status --watch 0.1 --json
equal 'lines of --watch --json' 3 "$(wc -l <<<"$output")"
jq -es 'length == 3 and (.[2].vms == [])' <<<"$output" >/dev/null || fail "--watch --json: $output"

# Nothing that a daemon says steers the terminal.
start_daemon "$(jq -c '{status: [.vms[0].name = "x\u001b[2Jx"]}' <<<"$STATUS")"
run 0 status
case $output in *$'\e'*) fail 'an escape character got through' ;; esac
start_daemon "$(jq -c '{status: [.memory.error = "/\u001b[2J"]}' <<<"$STATUS")"
run 0 status
prints 'no new figures: /\x1b[2J'

# Of a VM that does not run there is what was kept.
start_daemon "{\"status\": [$STATUS], \"kept\": [{\"file\": \"/x\", \"problem\": \"\", \"vms\": [
	{\"name\": \"gone\", \"uuid\": \"\", \"uid\": 7, \"mode\": \"off\"},
	{\"name\": \"any\", \"uuid\": \"\", \"uid\": null, \"mode\": \"hints\"}]}]}"
run 0 showvminfo gone
equal 'one that is gone' $'Name:                    gone
Process:                 none; it was of uid 7
Page Fusion:             disabled, mode off (kept by modifyvm)
To share it:             pagefuse modifyvm gone --page-fusion on' "$output"
run 0 showvminfo any
prints 'Page Fusion:             enabled, mode hints (kept by modifyvm)'
run 0 showvminfo --json gone
json '.mode == "off" and .uid == 7'
complains 1 "'never' is no VM" showvminfo never
end
