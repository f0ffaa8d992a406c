# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs what takes long, shows how far it is, and ends it at once when told to. To be sourced.
#
#   job_run COMMAND…            runs it in a process group of its own and waits; returns its exit status
#   job_stop, job_kill          for a trap: ends what job_run or progress_run runs now, if anything, by TERM or KILL
#   progress_run LOG COMMAND…   job_run with the output in LOG; what it says of its progress is shown
#   build_within FOLDER COMMAND…    runs what builds there; compilers that are interrupted leave nothing outside of it
#   progress_show               shows the lines of its input that begin with [12/345], "progress: ", or "I: ", as those
#                               of mmdebstrap
#
# A terminal has one line, drawn anew; elsewhere there is a line every PROGRESS_SECONDS. PROGRESS_INDENT comes before.
#
# In a group of its own a command does not get the terminal's Ctrl-C: the caller's trap decides what is ended, and how.

PROGRESS_SECONDS=${PROGRESS_SECONDS:-10}
export PROGRESS_INDENT=${PROGRESS_INDENT-       }
JOB=

job_run() {
	local status
	if [ -n "${INTERRUPT_FUNCTION:-}" ]; then # of interrupt.sh, which ends it
		interruptible "$@"
		return
	fi
	set -m
	"$@" </dev/null &
	JOB=$!
	set +m
	wait "$JOB"
	status=$?
	JOB=
	return $status
}

job_ended() {
	! kill -0 -- "-$1" 2>/dev/null
}

job_end() { # signal
	local job=$JOB tries
	[ -n "$job" ] || return 0
	JOB=
	kill "-$1" -- "-$job"
	for ((tries = 0; tries < 100; tries++)); do
		job_ended "$job" && break
		sleep 0.05
	done
	kill -KILL -- "-$job"
	wait "$job"
	[ ! -t 1 ] || printf '\r\e[K'
} 2>/dev/null # of what is gone by itself; and bash would tell who was killed

# What ninja or meson started is ended by them, for which they need a moment.
job_stop() {
	job_end TERM
}

job_kill() {
	job_end KILL
}

progress_show() {
	local line columns=0 last=$SECONDS
	[ ! -t 1 ] || columns=$(tput cols 2>/dev/null) || columns=80
	while IFS= read -r line; do
		[[ $line =~ ^(\[[0-9]+/[0-9]+\]|progress:|I:)\ (.*) ]] || continue
		line=${line#progress: }
		line=$PROGRESS_INDENT${line#I: }
		if [ "$columns" -gt 0 ]; then
			printf '\r\e[K%s' "${line:0:columns - 1}"
		elif [ $((SECONDS - last)) -ge "$PROGRESS_SECONDS" ]; then
			printf '%s\n' "${line:0:120}"
			last=$SECONDS
		fi
	done
	[ "$columns" -eq 0 ] || printf '\r\e[K'
}

# A compiler that is told to end removes its temporary files, but for one that it has just made. FOLDER is the caller's,
# and may have much else in it, so what is removed there has a name that is only ours.
build_within() {
	local temporary=$1/pagefuse-compiler-temporary
	shift
	rm -rf "$temporary" && mkdir -p "$temporary" && temporary=$(realpath "$temporary") || return
	TMPDIR=$temporary "$@"
}

progress_piped() {
	local log=$1
	shift
	set -o pipefail
	"$@" 2>&1 | (trap '' TERM; tee "$log" | progress_show)
}

progress_run() {
	job_run progress_piped "$@"
}
