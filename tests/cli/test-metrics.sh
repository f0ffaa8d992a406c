#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# metrics has VBoxManage's tables, and asks the daemon for no more than is wanted.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

# metric OBJECT METRIC VALUES [ENABLED PERIOD SAMPLES]: as the daemon tells it.
metric() {
	local host=false
	[ "$1" = host ] && host=true
	printf '{"object": "%s", "host": %s, "metric": "%s", "values": %s, ' "$1" "$host" "$2" "$3"
	printf '"enabled": %s, "period": %s, "samples": %s}' "${4:-false}" "${5:-0}" "${6:-0}"
}

SHARED=Guest/RAM/Usage/Shared

# As the daemon has them: the host's last.
METRICS="{\"metrics\": [$(metric web1 RAM/Usage/Used '[300]'),
	$(metric web1 "$SHARED" '[100, 104, 97]' true 5 3),
	$(metric db2 RAM/Usage/Used '[500]'), $(metric db2 "$SHARED" '[8]'),
	$(metric host RAM/Usage/Used '[9000]'), $(metric host RAM/VMM/Shared '[201]' false 7 7)]}"

requested() {
	equal 'the request' "$1" "$(tail -n 1 "$directory/requests")"
}

# line N: one of the output, with single blanks.
line() {
	sed -n "$1p" <<<"$output" | tr -s ' '
}

start_daemon "{\"metrics\": [$METRICS]}"
run 0 metrics query '*' 'RAM/Usage/Used,*/Shared,*Shared:*'
equal 'titles' 'Object Metric Values' "$(line 1)"
equal 'the host comes first' 'host RAM/Usage/Used 9000 kB' "$(line 3)"
equal 'the host, fused' 'host RAM/VMM/Shared 201 kB' "$(line 4)"
equal 'a VM' 'web1 RAM/Usage/Used 300 kB' "$(line 8)"
equal 'samples' 'web1 Guest/RAM/Usage/Shared 100 kB, 104 kB, 97 kB' "$(line 9)"
equal 'average' 'web1 Guest/RAM/Usage/Shared:avg 100 kB' "$(line 10)"
equal 'minimum' 'web1 Guest/RAM/Usage/Shared:min 97 kB' "$(line 11)"
equal 'maximum' 'web1 Guest/RAM/Usage/Shared:max 104 kB' "$(line 12)"
equal 'lines' 17 "$(wc -l <<<"$output")"
requested '{"command":"metrics","object":"*","metrics":["RAM/Usage/Used","RAM/VMM/Shared","'$SHARED'"]}'
run 0 metrics query --json web1 'Guest/RAM/Usage/Shared,Guest/RAM/Usage/Shared:max,Guest/RAM/Usage/Free'
json '.metrics[0:4] == [
	{"object": "web1", "metric": "Guest/RAM/Usage/Free", "unit": "kB",
	 "not_available": "only the guest knows, and its agent does not tell"},
	{"object": "web1", "metric": "Guest/RAM/Usage/Shared", "unit": "kB", "values": [100, 104, 97]},
	{"object": "web1", "metric": "Guest/RAM/Usage/Shared:max", "unit": "kB", "values": [104]},
	{"object": "db2", "metric": "Guest/RAM/Usage/Free", "unit": "kB",
	 "not_available": "only the guest knows, and its agent does not tell"}]'

# What nobody can tell is named with the reason, also where nothing else is asked for.
run 0 metrics query '*' 'Guest/RAM/Usage/Free,RAM/VMM/Ballooned'
equal 'not available' 'web1 Guest/RAM/Usage/Free not available: only the guest knows, and its agent does not tell' \
	"$(line 4)"
case $(line 3) in 'host RAM/VMM/Ballooned not available: '*) ;; *) fail "ballooned: $(line 3)" ;; esac

run 0 metrics list
equal 'titles' 'Object Metric Unit Minimum Maximum Period Count Description' "$(line 1)"
equal 'what is not sampled' \
	"host RAM/VMM/Shared kB 0 8796093022207 0 0 All fused memory: guest memory that maps a page of the store." \
	"$(grep '^host *RAM/VMM/Shared ' <<<"$output" | tr -s ' ' | sed 's/ The sum.*//')"
equal 'what is' \
	"web1 $SHARED:avg kB 0 8796093022207 5 3 Fused memory of the VM: guest memory that maps a page of the store." \
	"$(grep '^web1 *Guest/RAM/Usage/Shared:avg' <<<"$output" | tr -s ' ')"
run 0 metrics list --json host
json '.metrics[0] | .object == "host" and .unit == "kB" and .minimum == 0 and .period == 0 and .count == 0'

SET="{\"metrics\": [$(metric web1 Guest/RAM/Usage/Shared '[]' true 2 9)]}"
start_daemon "{\"set-metrics\": [$SET, $SET, $SET, $SET, {\"metrics\": []}]}"
run 0 metrics setup --period 2 --samples 9 web1 'Guest/RAM/Usage/Shared:avg,Guest/*/Cache'
equal 'nothing to say' '' "$output"
requested '{"command":"set-metrics","period":2,"samples":9,"object":"web1","metrics":["'$SHARED'"]}'
run 0 metrics setup --list web1 'Guest/RAM/Usage/Shared'
equal 'what was set up' 'web1 Guest/RAM/Usage/Shared' "$(line 5)"
requested '{"command":"set-metrics","period":1,"samples":1,"object":"web1","metrics":["'$SHARED'"]}'
run 0 metrics enable web1 Guest/RAM/Usage/Shared --json
json '.metrics == [{"object": "web1", "metric": "Guest/RAM/Usage/Shared", "enabled": true, "period": 2, "samples": 9}]'
requested '{"command":"set-metrics","enable":true,"object":"web1","metrics":["'$SHARED'"]}'
run 0 metrics disable '*' Guest/RAM/Usage/Shared
requested '{"command":"set-metrics","enable":false,"object":"*","metrics":["'$SHARED'"]}'
complains 1 'no VM of yours' metrics disable

# Collected until the daemon goes: what it tells now, and what is made of the last two.
now() { # VALUE
	printf '{"metrics": [%s, %s]}' "$(metric web1 "$SHARED" "[$1]")" "$(metric host RAM/VMM/Shared "[$1]")"
}

start_daemon "{\"metrics\": [$(now 10), $(now 30), $(now 20), \"close\"]}"
run 3 metrics collect --period 1 --samples 2 '*' '*/Shared,Guest/*/Shared:*'
equal 'titles' 'Time stamp Object Metric Value' "$(line 1)"
equal 'lines' 16 "$(wc -l <<<"$output")"
equal 'the third time' 'host RAM/VMM/Shared 20 kB
web1 Guest/RAM/Usage/Shared 20 kB
web1 Guest/RAM/Usage/Shared:avg 25 kB
web1 Guest/RAM/Usage/Shared:min 20 kB
web1 Guest/RAM/Usage/Shared:max 30 kB' "$(sed -n '12,16p' <<<"$output" | tr -s ' ' | cut -d ' ' -f 2-)"
[[ $(line 12) =~ ^[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{3}\ host ]] || fail "no time stamp: $(line 12)"
requested '{"command":"metrics","now":true,"object":"*","metrics":["RAM/VMM/Shared","'$SHARED'"]}'
start_daemon "{\"metrics\": [$(now 10), $(now 30), \"close\"]}"
run 3 metrics collect --json web1
equal 'documents' 2 "$(wc -l <<<"$output")"
output=$(tail -n 1 <<<"$output")
json '(.time > 1e9) and (.metrics | map(select(.metric == "Guest/RAM/Usage/Shared")) ==
	[{"object": "web1", "metric": "Guest/RAM/Usage/Shared", "unit": "kB", "value": 30}])'

# What a daemon says that makes no sense.
start_daemon '{"metrics": [{}, {"metrics": [7, null, {"object": 3, "metric": []}]}, "garbage"]}'
complains 1 '' metrics query
run 0 metrics query
complains 1 '' metrics query
end
