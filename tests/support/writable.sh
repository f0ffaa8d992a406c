# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# To be sourced, from the project's root.
#
#   writable_or_end SCRIPT FOLDER…    makes the folders; ends the script at once, and says why, if it cannot write there

writable_or_end() {
	local script=$1 folder why
	shift
	for folder; do
		why=$({ mkdir -p "$folder" && touch "$folder/.writable" && rm "$folder/.writable"; } 2>&1) && continue
		echo "$script: cannot write to $(realpath -m "$folder"): ${why##*: }" >&2
		echo "$script: it works in folders of the project; copy the project to where it can be written" >&2
		exit 1
	done
}
