#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# map draws a VM's memory, in letters, half-blocks or a file, and asks for all of it, part by part.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
export LC_ALL=C
unset NO_COLOR

equal 'the map in docs/map.md' "$("${0%/*}/map-example.sh")" \
	"$(sed '1,/^```$/d; /^```$/,$d' "${0%/*}/../../docs/map.md")"

# part NEXT PAGES RUN...
part() {
	local next=$1 pages=$2
	shift 2
	printf '{"name": "web1", "addresses": "guest-physical", "cell_bytes": 4096, "next": %s, "pages": {%s},
		"labels_count": 2, "named_pages": 5, "runs": [%s], "labels": [%s, %s]}' \
		"$next" "$pages" "$(IFS=,; echo "$*")" \
		'{"kind": "file", "label": "/a", "shared_pages": 1, "common_pages": 0}' \
		'{"kind": "file", "label": "/b\u001b", "shared_pages": 4, "common_pages": 2}'
}
# run_of ADDRESS CELLS WHAT
run_of() {
	printf '{"address": %s, "cells": %s, %s}' "$@"
}

FIRST=$(part 65536 '"shared": 3, "zero": 2, "private": 9' "$(run_of 0 3 '"shared": 1, "label": 1')" \
	"$(run_of 12288 2 '"zero": 1')" "$(run_of 32768 9 '"private": 1')")
# The other one knows labels by other numbers.
SECOND=$(part null '"shared": 2, "busy": 8' "$(run_of 69632 2 '"shared": 1, "label": 0')" \
	"$(run_of 131072 8 '"busy": 1')" | jq -c '.labels |= reverse')
start_daemon "{\"map\": [$FIRST, $SECOND]}"
run 0 map --width 8 --labels web1
equal 'the map' '0x00000  SSSZZ     /b\x1b
0x08000  PPPPPPPP
0x10000  PSS       /b\x1b
0x20000  BBBBBBBB' "$(head -n 4 <<<"$output")"
prints '  S  shared      20K  maps a copy in the store'
prints 'web1: a cell is 4K, 1 page; a row is 8 cells, 32K; addresses are the guest'"'"'s physical ones.'
prints 'SHARED KIND WHAT
   32K file /b\x1b
    8K file /a'
equal 'the requests' '{"command":"map","name":"web1","labels":true,"cells":256}
{"command":"map","name":"web1","labels":true,"cell_pages":1,"address":65536}' "$(cat "$directory/requests")"

start_daemon "{\"map\": [$FIRST, $SECOND]}"
run 0 map --json --labels web1
json '.runs | length == 5 and .[3].label == 1 and .[0].label == 1'
json '.pages == {"shared": 5, "zero": 2, "private": 9, "busy": 8} and .named_pages == 10 and .labels_left_out == 0'
json '.labels == [{"kind": "file", "label": "/a", "shared_pages": 2, "common_pages": 0},
	{"kind": "file", "label": "/b\u001b", "shared_pages": 8, "common_pages": 4}]'
json '.next == null and .cell_bytes == 4096'

# Colours: said, or in a terminal whose locale has half-blocks, unless NO_COLOR is set.
start_daemon "{\"map\": [$SECOND]}"
run 0 map --color always --width 8 web1
equal 'half-blocks' $'0x10000   \e[0;38;5;40m▀▀\e[0m\n0x20000  \e[0;38;5;226m▀▀▀▀▀▀▀▀\e[0m' \
	"$(head -n 2 <<<"$output")"
in_terminal() { # VARIABLE=VALUE...: what it draws there
	script -qec "stty cols 80 rows 24; env TERM=xterm-256color $* '$PAGEFUSE' map --width 8 web1" /dev/null \
		</dev/null
}
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
	[[ $(in_terminal LC_ALL=C.UTF-8) == *$'\e[0;38;5;226m▀'* ]] || fail 'no colours in a terminal'
	for no in LC_ALL=C 'LC_ALL=C.UTF-8 NO_COLOR=1' 'LC_ALL=C.UTF-8 TERM=dumb'; do
		seen=$(in_terminal "$no")
		[[ $seen == *BBBBBBBB* && $seen != *$'\e'* ]] || fail "with $no: $seen"
	done
	[[ $(in_terminal 'LC_ALL=C.UTF-8 NO_COLOR=') == *$'\e[0;38;5;226m▀'* ]] ||
		fail 'no colours where NO_COLOR is empty'
fi
LC_ALL=C.UTF-8 run 0 map --width 8 web1
equal 'letters' '0x10000   SS' "$(head -n 1 <<<"$output")"

run 0 map --png "$directory/map.png" --cell 1 --width 16 web1
equal 'the request' '{"command":"map","name":"web1","cell_pages":1}' "$(tail -n 1 "$directory/requests")"
prints '#00d700  shared'
equal 'the picture' $'\x89PNG' "$(head -c 4 "$directory/map.png")"
complains 1 "$directory/no/map.png: cannot be written" map --png "$directory/no/map.png" web1

start_daemon "{\"map\": [$(jq -c '.pages.common = 5 | .pages.shared = 2' <<<"$SECOND"),
	{\"error\": {\"code\": \"unknown-vm\", \"message\": \"there is no VM of this name\", \"value\": \"web9\"}},
	{\"error\": {\"code\": \"not-permitted\", \"message\": \"it belongs to another user\", \"value\": \"web8\"}},
	$(jq -c '.runs = []' <<<"$SECOND"), $FIRST, $FIRST, $(jq -c '.runs[0].cells = 5000000' <<<"$SECOND"),
	$FIRST, $(jq -c '.addresses = "pages"' <<<"$SECOND"),
	$(jq -c 'del(.next)' <<<"$SECOND"), $(jq -c '.cell_bytes = 0' <<<"$SECOND")]}"
run 0 map --with web2 web1
prints 'Of 28K that web1 shares, 20K (5 pages) are the same copies as web2'"'"'s.'
equal 'the request' '{"command":"map","name":"web1","with":"web2","cells":2048}' "$(tail -n 1 "$directory/requests")"
complains 1 "'web9'" map web9
complains 1 "'web8'" map web8
complains 1 'web1: pagefused knows of no memory of this VM' map web1
complains 1 'does not speak this protocol' map web1 # a part that does not go on
complains 1 'give them more pages: --cell PAGES' map web1
complains 1 'web1: its VMM has told anew where the guest sees its memory' map web1
complains 1 'does not speak this protocol' map web1
complains 1 'does not speak this protocol' map web1
complains 2 'map takes one' map
complains 2 'map takes one' map a b
complains 2 "--cell: '3'" map --cell 3 a
complains 2 "--cell: '536870912'" map --cell 536870912 a
complains 2 "--width: '0'" map --width 0 a
complains 2 "--width: '1025'" map --width 1025 a
complains 2 "--color: 'red'" map --color red a
complains 2 'either --json or --png' map --json --png x a
end
