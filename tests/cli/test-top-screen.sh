#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# top in a terminal, as a person uses it.
#
# usage: test-top-screen.sh LOCALE
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
# shellcheck source=tests/cli/screen.sh
. "${0%/*}/screen.sh"
# shellcheck source=tests/cli/top-status.sh
. "${0%/*}/top-status.sh"
trap 'screen_close; finish' EXIT
export LC_ALL=${1:?names the locale}

# types COMMAND: on an empty screen; its exit code is printed afterwards.
types() {
	screen_type clear
	screen_keys Enter
	screen_hides ended
	screen_type "$1; echo ended \$?"
	screen_keys Enter
}

# top ARGUMENT...: each refresh is asked for: by itself there is none.
top() {
	types "sh -c 'echo \$\$ >top.pid; exec \"\$0\" \"\$@\"' ${PAGEFUSE@Q} top -d 86400 $*"
}

# ended CODE: the shell has the terminal again, as it was.
ended() {
	screen_shows "ended $1"
	screen_type "stty -g | diff - stty.before && echo 'as'' before'"
	screen_keys Enter
	screen_shows 'as before'
	equal 'the other screen' '0 1' "$(terminal display-message -p '#{alternate_on} #{cursor_flag}')"
}

rows() { # NAME...: the table's, from top to bottom, behind the lines above it
	screen_waits rows_are "$*" || fail "not $*: $seen"
}

rows_are() {
	[ "$(sed '1,/^NAME/d' <<<"$seen" | cut -d ' ' -f 1 | xargs)" = "$1" ]
}

equal 'the screen in docs/top.md' "$("${0%/*}/top-example.sh")" \
	"$(sed '1,/^```$/d; /^```$/,$d' "${0%/*}/../../docs/top.md")"

cd "$directory" || exit 1
start_daemon "$TOP_SCRIPT"
screen_open 110 24
screen_type 'stty -g >stty.before; echo noted'
screen_keys Enter
screen_shows $'\nnoted'

HEAD='PSHARE/MB: 200 shared, 50 common, 10 zero: 160 saving
STORE/MB:  50 store, 4 overhead
MEM/MB:    24064 total, 900 free, 943 minfree: clear state (high above 3772, clear below 943, soft 604, hard
           302, low 151)
EXPOSE/MB: 210 exposed, 900 free, 100 swap free: covered
'
top
screen_looks 'the first screen' "12:00:00  up 1h02m, 3 VMs, by SAVED, every 86400s
$HEAD
NAME  MODE  PRESENT  SHARED    ZERO   SAVED  DIVERGED   DIV/S    %CPU  STATE     WHY
web2  full     250M    156M      5M    117M       48K       -       -  idle
db2   zero     500M    100M      5M     80M         0       -       -  scanning  locked 2M
web1  full     250M    100M      5M     80M       48K       -       -  idle"
screen_keys Space
screen_looks 'the second one' "12:00:00  up 1h02m, 3 VMs, by SAVED, every 86400s
$HEAD
NAME  MODE  PRESENT  SHARED    ZERO   SAVED  DIVERGED   DIV/S    %CPU  STATE     WHY
web2  full     250M    156M      5M    117M         0       -       -  idle
db2   zero     500M    100M      5M     80M         0     0.0     0.0  scanning  exposure_max, locked 2M
web1  full     250M    100M      5M     80M      252K    25.5    12.5  idle"
equal 'requests' 2 "$(wc -l <requests)"

# Sorting.
screen_keys '>'
screen_line 1 '12:00:00 up 1h02m, 3 VMs, by DIVERGED, every 86400s'
rows web1 db2 web2
screen_keys Right
rows web1 db2 web2 # what is not known comes last
screen_keys r
screen_line 1 '12:00:00 up 1h02m, 3 VMs, by DIV/S reversed, every 86400s'
rows web2 db2 web1
screen_keys r o
screen_shows 'A letter sorts by that column; any other key goes back:'
screen_line 14 '* m DIV/S Pages a second by which DIVERGED has grown: copied on write, less those shared again.'
screen_keys a
rows db2 web1 web2
screen_keys Left # there is no column further left
screen_line 1 '12:00:00 up 1h02m, 3 VMs, by NAME, every 86400s'

# Columns.
screen_keys f
screen_line 1 'A letter shows or hides a column; any other key goes back:'
screen_line 2 '* a NAME What the VM is called.'
screen_keys b d f g j l m
screen_line 3 '* b PID The VMM'"'"'s process.'
screen_line 5 ' d MODE What is shared of it: off, zero, hints or full.'
screen_keys Enter
screen_line 8 'NAME PID ZERO SAVED EXPOSED %CPU STATE WHY'
screen_line 10 'web1 999999991 5M 80M 105M 12.5 idle'

# Help.
screen_keys h
screen_line 1 'q quit'
screen_keys Space
rows db2 web1 web2

# Which VMs.
screen_keys /
screen_type 'w*x'
screen_shows 'Names of VMs, with * and ?, or nothing for all: w*x_'
screen_keys BSpace Enter
screen_line 1 '12:00:00 up 1h02m, 3 VMs, by NAME, every 86400s, 2 like w*'
rows web1 web2
screen_keys /
screen_type 'other'
screen_keys Escape
screen_hides 'Names of VMs'
rows web1 web2
screen_keys /
screen_type 'other'
screen_keys Enter
screen_shows 'No VM is called so.'
screen_keys / Enter
rows db2 web1 web2

# How often.
screen_keys s
screen_type soon
screen_keys Enter
screen_shows "'soon': not a time; give seconds from 0.1 to 86400"
screen_keys s
screen_type 0.25
screen_keys Enter
screen_line 1 '12:00:00 up 1h02m, 3 VMs, by NAME, every 0.25s'
asked=$(wc -l <requests)
asks_again() {
	[ "$(wc -l <requests)" -gt $((asked + 2)) ]
}
screen_waits asks_again || fail 'it does not refresh by itself'
screen_keys q
ended 0

# Its size changes.
top -o name
rows db2 web1 web2
screen_size 61 11
screen_looks 'small' "12:00:00  up 1h02m, 3 VMs, by NAME, every 86400s
PSHARE/MB: 200 shared, 50 common, 10 zero: 160 saving
STORE/MB:  50 store, 4 overhead
MEM/MB:    24064 total, 900 free, 943 minfree: clear state
           (high above 3772, clear below 943, soft 604, hard
           302, low 151)
EXPOSE/MB: 210 exposed, 900 free, 100 swap free: covered

NAME  MODE  PRESENT  SHARED    ZERO   SAVED  DIVERGED   DIV/S
db2   zero     500M    100M      5M     80M         0       -
web1  full     250M    100M      5M     80M      252K       -"
screen_keys End
rows web1 web2
screen_keys Up
rows db2 web1
screen_size 20 4
screen_looks 'tiny' '12:00:00  up 1h02m,

NAME  MODE  PRESENT
db2   zero     500M'
screen_keys NPage
screen_line 4 'web1 full 250M'
screen_size 3 2
only_hours() {
	[[ $seen =~ ^[0-2][0-9]:$ ]]
}
screen_waits only_hours || fail "more than a corner: $seen"
screen_size 1 1
screen_size 110 24
screen_line 7 ''
rows db2 web1 web2

# Stopped, and on again, by itself and by others; meanwhile the terminal changes.
screen_keys C-z
screen_shows Stopped
screen_shows 'ready>'
equal 'the other screen, stopped' 0 "$(terminal display-message -p '#{alternate_on}')"
screen_size 84 20
screen_type fg
screen_keys Enter
rows db2 web1 web2
screen_line 5 ' below 943, soft 604, hard 302, low 151)'
screen_size 110 24
kill -STOP "$(cat top.pid)"
screen_shows Stopped
screen_type 'clear; fg'
screen_keys Enter
rows db2 web1 web2
screen_keys C-c
screen_shows 'ready>'
screen_type 'echo ended $?'
screen_keys Enter
ended 130
for signal in TERM HUP QUIT; do
	top
	rows web2 db2 web1
	kill -$signal "$(cat top.pid)"
	ended $((128 + $(kill -l $signal)))
done

# The daemon goes and comes back. What is said of it has the socket's path, which may be long.
screen_size 250 24
top
rows web2 db2 web1
stop_daemon
screen_shows "No new figures, trying again: $PAGEFUSE_SOCKET: no pagefused answers there"
rows web2 db2 web1
screen_keys h q # keys do what they do
screen_hides quit
start_daemon "$(jq -c '{status: [.vms |= .[0:1]]}' <<<"$STATUS")"
rows web1
screen_hides 'No new figures'
# It does not answer.
kill -STOP "$daemon_pid"
screen_keys Space f b Enter
screen_shows 999999991
screen_keys q
ended 0
kill -CONT "$daemon_pid"
# It makes no sense.
start_daemon "{\"status\": [$STATUS, \"garbage\"]}"
top
rows db2 web1
screen_keys Space
screen_shows 'does not speak this protocol'
start_daemon "{\"status\": [$EMPTY_STATUS]}"
screen_shows 'No VM shares memory yet.'
screen_hides 'No new figures'
screen_keys q
ended 0

screen_size 110 24

# It ends by itself.
start_daemon "$TOP_SCRIPT"
top -n 2 -d 0.1
ended 0

# Many VMs, and names at their worst.
start_daemon "$(jq -c '{status: [.vms += [range(100) as $i | .vms[0] | .name = "n\($i)" | .saved_pages = 100 - $i] |
	.vms[0].name = "a\u001b[2J\u00e9\\x" |
	.vms[1] |= (.domain = "\u202e\u65e5" | .refused[0].reason = "\r\u009b1m") |
	.vms[1].name = "abcdefghijklmnopqrstuvwxyz"]}' <<<"$STATUS")"
top -c name,domain,saved,why -f "'[an]*'"
screen_line 1 '12:00:00 up 1h02m, 102 VMs, by SAVED, every 86400s, 102 like [an]*'
screen_line 9 'a\x1b[2J\xc3\xa9\x5cx uid-0 80M'
screen_line 10 'abcdefghijklmnopqrstuvw+ \xe2\x80\xae\xe6\x97\xa5 80M \x0d\xc2\x9b1m 2M'
screen_line 24 'n13 uid-0 348K'
screen_keys NPage
screen_line 9 'n14 uid-0 344K'
screen_keys Down Down
screen_line 9 'n16 uid-0 336K'
screen_keys End
screen_line 24 'n99 uid-0 4K'
screen_keys PPage
screen_line 24 'n83 uid-0 68K'
screen_keys Home
screen_line 24 'n13 uid-0 348K'
screen_keys q
ended 0

# Colours, and none.
start_daemon "$(jq -c '{status: [.memory.state = "low"]}' <<<"$STATUS")"
top
screen_shows 'low state'
terminal capture-pane -pe | grep -q $'^\e\\[1m\e\\[31mMEM/MB' || fail "not red: $(terminal capture-pane -pe | cat -v)"
screen_keys q
ended 0
screen_type 'export NO_COLOR=1'
screen_keys Enter
top
screen_shows 'low state'
terminal capture-pane -pe | grep -q $'^\e\\[1mMEM/MB' || fail "coloured: $(terminal capture-pane -pe | cat -v)"
screen_keys q
ended 0

# A terminal that cannot do it.
for term in dumb no-such-terminal ''; do
	types "TERM=$term ${PAGEFUSE@Q} top"
	ended 1
	screen_shows "pagefuse: top: TERM='$term': not known as a terminal whose cursor can be moved"
done
stop_daemon
screen_size 250 24
top
screen_shows 'no pagefused answers there'
ended 3

# The terminal goes, and so does it, also where it is not told by a signal.
start_daemon "$TOP_SCRIPT"
for told in : "trap '' HUP"; do
	screen_type "$told"
	screen_keys Enter
	top
	rows web2 db2 web1
	screen_close
	screen_gone "$(cat top.pid)" || fail "it goes on without a terminal: $told"
	screen_open 110 24
done
end
