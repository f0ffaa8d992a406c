# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# To be sourced, from the project's root.
#
#   writable_or_end SCRIPT FOLDER…    makes the folders; ends the script at once, and says why, if it cannot write there

writable_or_end() {
	# A trap that is run by exit here sees these: so they have no name that the caller may have.
	local writable_script=$1 writable_path why
	shift
	for writable_path; do
		why=$({ mkdir -p "$writable_path" && touch "$writable_path/.writable" &&
			rm "$writable_path/.writable"; } 2>&1) && continue
		echo "$writable_script: cannot write to $(realpath -m "$writable_path"): ${why##*: }" >&2
		echo "$writable_script: it works in folders of the project; copy that to where it can be written" >&2
		exit 1
	done
}
