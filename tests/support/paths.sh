# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# To be sourced.
#
#   paths_below FOLDER mounts|swaps    what is mounted, or swapped to, below it: the deepest first, each ended by a NUL

# The kernel writes blanks, tabs and line breaks in paths as \040 and the like.
paths_below() {
	local first second path
	while read -r first second _; do
		if [ "$2" = mounts ]; then path=$second; else path=$first; fi
		printf -v path %b "$path"
		[[ $path != "$1"/* ]] || printf '%s\0' "$path"
	done <"/proc/$2" | sort -z -r
}
