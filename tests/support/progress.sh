# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs what takes long, and shows how far it is. To be sourced.
#
#   progress_run LOG COMMAND…   interruptible, with the output in LOG; what it says of its progress is shown
#   build_within FOLDER COMMAND…    runs what builds there; compilers that are interrupted leave nothing outside of it
#   progress_show               shows the lines of its input that begin with [12/345], "progress: ", or "I: ", as those
#                               of mmdebstrap
#
# A terminal has one line, drawn anew; elsewhere there is a line every PROGRESS_SECONDS. PROGRESS_INDENT comes before.

# shellcheck source=tests/support/interrupt.sh
. "$(dirname "${BASH_SOURCE[0]}")/interrupt.sh"

PROGRESS_SECONDS=${PROGRESS_SECONDS:-10}
export PROGRESS_INDENT=${PROGRESS_INDENT-       }

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
	interruptible progress_piped "$@"
}
