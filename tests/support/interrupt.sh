# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For scripts that start, mount and change things of the host: they end at once when told to, and leave nothing, however
# they end. To be sourced; by a script that calls interrupt_open after supervised.sh.
#
#   interrupt_open FUNCTION [WORDS]
#                                 from now on the script ends by calling FUNCTION, which cleans up, with the exit status
#                                 in $1: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP, else the script's own.
#                                 Its own status is the script's then, unless that was interrupted, when the WORDS are
#                                 printed first
#   interrupt_check               ends the script if it was told to. For loops, and after what takes long
#   interruptible COMMAND…        runs a command or function that may take long, and can end at any moment. Its process
#                                 group gets SIGTERM then, and SIGKILL after INTERRUPT_SECONDS, 5 by default
#   nap SECONDS
#   own_folder VARIABLE PREFIX    makes a folder in the temporary one, known to the guard
#   guard process PID             ends that process after the script's end, should it still be there
#   guard folder PATH             unmounts what is mounted below, and removes it
#   guard cgroup PATH             removes it, when nobody is in it any more
#   guard command TEXT            a line of shell that puts something right
#   guard forget KIND WHAT        that has been done
#
# A process group of its own does not get the terminal's Ctrl-C: the script decides what is ended, and how.
#
# A trap that exits crashes bash 5.2 inside `read -t`, and a trap that cleans up may come between the birth of a process
# and the assignment of its id. So traps do no more than to remember the signal.
#
# The guard is a process in a session of its own that lives until the script's end: Ctrl-C does not reach it, and who
# kills the script (meson does, half a second after a test was told to end) does not kill it. It knows how to undo
# all that has been announced to it, latest first, and does that with what FUNCTION left.

[ -z "${INTERRUPT_FOLDER:-}" ] || return 0
INTERRUPT_FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
INTERRUPTED=
INTERRUPT_ENDING=no
INTERRUPT_JOB=
INTERRUPT_SECONDS=5

# shellcheck disable=SC2317 # called by the trap
interrupt_end() {
	local status=$? job
	# A second Ctrl-C does not stop the cleaning; what it needs ignores that as well.
	trap '' INT TERM HUP PIPE USR1
	trap - EXIT
	INTERRUPT_ENDING=yes
	[ -z "$INTERRUPTED" ] || [ -z "$INTERRUPT_WORDS" ] || printf '\n%s\n' "$INTERRUPT_WORDS" 2>/dev/null
	interrupt_end_job
	"$INTERRUPT_FUNCTION" "${INTERRUPTED:-$status}"
	status=$?
	[ -z "$INTERRUPTED" ] || status=$INTERRUPTED
	for job in $(jobs -p); do
		[ "$job" = "$GUARD_PROCESS" ] || kill "$job" 2>/dev/null
	done
	guard forget group $$
	exec {GUARD}>&-
	wait 2>/dev/null
	exit "$status"
}

interrupt_open() {
	[ -n "${INTERRUPT_SUPERVISED:-}" ] || { echo "$0 has not sourced supervised.sh" >&2; exit 70; }
	INTERRUPT_FUNCTION=$1
	INTERRUPT_WORDS=${2:-}
	trap 'INTERRUPTED=129' HUP
	trap 'INTERRUPTED=130' INT USR1
	trap 'INTERRUPTED=143' TERM
	coproc GUARD_PIPE { exec setsid bash "$INTERRUPT_FOLDER/guard.sh" >/dev/null 2>&1; }
	# shellcheck disable=SC2153 # the coproc's
	GUARD_PROCESS=$GUARD_PIPE_PID GUARD=${GUARD_PIPE[1]}
	guard group $$
	trap interrupt_end EXIT
}

interrupt_check() {
	[ -z "$INTERRUPTED" ] || [ "$INTERRUPT_ENDING" = yes ] || exit "$INTERRUPTED"
}

# In a process group of its own, so that all of it can be ended, and only by us. What runs within another one belongs to
# the group of that.
interruptible() {
	local status
	if [ "$BASHPID" != $$ ]; then
		"$@" </dev/null
		return
	fi
	interrupt_check
	set -m
	"$@" </dev/null &
	INTERRUPT_JOB=$!
	set +m
	guard group "$INTERRUPT_JOB"
	# A trap that was run after interrupt_check has nobody to tell: then this waits for nothing. One that is not run
	# yet ends the waiting.
	wait "${INTERRUPTED:-$INTERRUPT_JOB}" 2>/dev/null
	status=$?
	interrupt_check
	guard forget group "$INTERRUPT_JOB"
	INTERRUPT_JOB=
	return $status
}

# shellcheck disable=SC2317 # called by the trap
interrupt_end_job() {
	local job=$INTERRUPT_JOB tries
	[ -n "$job" ] || return 0
	kill -TERM -- "-$job"
	for ((tries = 0; tries < INTERRUPT_SECONDS * 20; tries++)); do
		kill -0 -- "-$job" || break
		sleep 0.05
	done
	kill -KILL -- "-$job"
	wait "$job"
	guard forget group "$job"
	INTERRUPT_JOB=
} 2>/dev/null # of what is gone by itself; and bash would tell who was killed

nap() {
	interruptible sleep "$1"
}

own_folder() {
	local path
	# Not to be interrupted between the folder's birth and the message of its name.
	path=$(trap '' INT TERM HUP; mktemp -d "${TMPDIR:-/tmp}/$2.XXXXXX") || return 1
	guard folder "$path"
	printf -v "$1" %s "$path"
}

# Nobody listens in a subshell, and there is no guard in a script that did not ask for one.
guard() {
	[ -z "${GUARD:-}" ] || [ "$BASHPID" != $$ ] || echo "$*" >&"$GUARD"
}
