#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# top without a screen: CSV and JSON, and what is wrong with its command line.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
# shellcheck source=tests/cli/top-status.sh
. "${0%/*}/top-status.sh"

# What is the same each time: a time of day is TIME.
timeless() {
	sed -E 's/^[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9](:[0-5][0-9]){2},/TIME,/' <<<"$output"
}

TITLES=time,object,name,pid,domain,mode,state,why,\
ram_bytes,present_pages,shared_pages,common_pages,zero_pages,saved_pages,exposed_pages,would_save_pages,diverged_pages,\
diverged_pages_per_second,hinted_pages,mappings,hold_p99_usec,worker_cpu_seconds,worker_cpu_percent,\
store_bytes,overhead_bytes,uncovered_bytes,total_bytes,free_bytes,swap_free_bytes,min_free_bytes
HOST=TIME,host,,,,,clear,,\
,,51200,12800,2560,40960,53760,2048,,,,,,,,52428800,4194304,0,25232932864,943718400,104857600,988807168

start_daemon "$TOP_SCRIPT"
run 0 top --batch --count 2 --delay 0.1
equal 'CSV' "$TITLES
$HOST
TIME,vm,web2,999999993,uid-0,full,idle,,536870912,64000,40000,,1280,30000,26880,1024,12,,0,9000,180,0.25,,,,,,,,
TIME,vm,db2,999999992,team,zero,scanning,locked 2M,\
1073741824,128000,25600,,1280,20480,26880,1024,0,,0,64000,190,0.5,,,,,,,,
TIME,vm,web1,999999991,uid-0,full,idle,,536870912,64000,25600,,1280,20480,26880,1024,12,,0,9000,180,0.25,,,,,,,,
$HOST
TIME,vm,web2,999999994,uid-0,full,idle,,536870912,64000,40000,,1280,30000,26880,1024,0,,0,9000,180,0.25,,,,,,,,
TIME,vm,db2,999999992,team,zero,scanning,\"exposure_max, locked 2M\",\
1073741824,128000,25600,,1280,20480,26880,1024,0,0,0,64000,190,0.5,0,,,,,,,
TIME,vm,web1,999999991,uid-0,full,idle,,\
536870912,64000,25600,,1280,20480,26880,1024,63,25.5,0,9000,180,0.5,12.5,,,,,,," "$(timeless)"
equal 'what is asked for' $'{"command":"status"}\n{"command":"status"}' "$(cat "$directory/requests")"

# Which VMs, in which order.
run 0 top -b -n 1 -o name -f 'web*'
equal 'by name' 'web1 web2' "$(sed '1,2d' <<<"$output" | cut -d , -f 3 | xargs)"
run 0 top -b -n 1 -o Diverged -f '*[12]'
equal 'by diverged' 'web1 db2 web2' "$(sed '1,2d' <<<"$output" | cut -d , -f 3 | xargs)"
run 0 top -b -n 1 -f nobody
equal 'of nobody' 2 "$(wc -l <<<"$output")"

start_daemon "$TOP_SCRIPT"
run 0 top -b --json -n 2 -d 0.1 -o name -f 'web*'
equal 'documents' 2 "$(wc -l <<<"$output")"
jq -es 'all(.[]; .time > 1e9 and .host.shared_pages == 51200 and .memory.state == "clear") and
	(.[0].vms | map(.name) == ["web1", "web2"] and all(.[]; has("diverged_pages_per_second") | not)) and
	(.[1].vms | (.[0] | .diverged_pages_per_second == 25.5 and .worker_cpu_percent == 12.5) and
	 (.[1] | has("worker_cpu_percent") | not))' <<<"$output" >/dev/null || fail "--json: $output"

# A worker that began anew, a daemon that did: there is nothing to compare.
start_daemon "{\"status\": [$TOP_FIRST, $(jq -c '.vms[0].worker_cpu_seconds = 0.1' <<<"$TOP_SECOND"),
	$(jq -c '.daemon |= (.pid = 78 | .uptime_seconds = 9999)' <<<"$TOP_SECOND"), \"close\"]}"
run 3 top -b -d 0.1 --json -f web1
jq -es 'length == 3 and (.[1].vms[0] | .diverged_pages_per_second == 25.5 and (has("worker_cpu_percent") | not)) and
	(.[2].vms[0] | has("diverged_pages_per_second") | not)' <<<"$output" >/dev/null || fail "anew: $output"
case $complaint in *'has closed the connection'*) ;; *) fail "the daemon is gone: $complaint" ;; esac

# What a name can be at its worst, and what is not there.
start_daemon "{\"status\": [$(jq -c '.vms = [{"name": "=HYPERLINK(\"http://x\",1)"}, {"name": "-1+\u001b[2J"},
	{"name": "\u65e5\n", "refused": [7, {"reason": "x\ny", "bytes": "z"}]}] |
	.host = {} | del(.memory)' <<<"$STATUS")]}"
run 0 top -b -n 1 -o name
equal 'names' "TIME,host,,,,,,,,,,,,,,,,,,,,,,,,,,,,
TIME,vm,'-1+\\x1b[2J,,,,not connected,,,,,,,,,,,,,,,,,,,,,,,
TIME,vm,\"'=HYPERLINK(\"\"http://x\"\",1)\",,,,not connected,,,,,,,,,,,,,,,,,,,,,,,
TIME,vm,\\xe6\\x97\\xa5\\x0a,,,,not connected,\" 0, x\\x0ay 0\",,,,,,,,,,,,,,,,,,,,,," "$(timeless | sed 1d)"
for reply in '"close" 3' '"garbage" 1' '{} 1'; do
	start_daemon "{\"status\": [${reply% *}]}"
	complains "${reply##* }" "$PAGEFUSE_SOCKET" top -b
done
stop_daemon
complains 3 'no pagefused answers' top -b

complains 2 "'extra'" top extra
complains 2 "'soon'" top --delay soon
complains 2 "'0'" top -d 0
complains 2 "'-1'" top -d -1
complains 2 "'1e9'" top -d 1e9
complains 2 "'0'" top -b --count 0
complains 2 "'-1'" top -b -n -1
complains 2 "'2x'" top -b -n 2x
complains 2 "'99999999999999999999'" top -b -n 99999999999999999999
complains 2 "'--count' needs a value" top --count
complains 2 "'colour'" top --sort colour
complains 2 "''" top --sort ''
complains 2 "'colour' is no column" top --columns name,colour,saved
complains 2 "'' is no column" top --columns name,
complains 2 "longer than any name" top --filter "$(printf '%064d' 0)"
complains 2 '--json is of --batch' top --json
complains 2 '--columns is of the screen' top -b --columns name
complains 1 'is no terminal' top
if [ -w /dev/full ]; then
	start_daemon "$TOP_SCRIPT"
	"$PAGEFUSE" top -b >/dev/full 2>"$directory/complaint"
	equal 'exit code with standard output full' 1 $?
fi
end
