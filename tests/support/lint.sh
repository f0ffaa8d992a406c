#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One linter over the whole tree. Their settings: .clang-tidy, .cppcheck, .shellcheckrc, .clang-format.
#
# usage: lint.sh tidy BUILD_FOLDER [FILE...]    clang-tidy of what that build compiles, or of the files named
#        lint.sh cppcheck | shell | format
# Exit status 77: that linter cannot judge here, the last line says why.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1

# The versions whose findings this tree is free of: others find other things, and format otherwise. They are those of
# Debian 12. cppcheck 2.17, for one, takes \`register long r10 __asm__("r10")\` for a syntax error, which it is not.
declare -A VERSION=([clang-tidy]=14 [clang-format]=14 [cppcheck]=2.10 [shellcheck]=0.9)

# Skips unless that linter has its version.
needs() {
	local found
	found=$("$1" --version 2>&1 | grep -o -E -m 1 '[0-9]+(\.[0-9]+)+' | head -n 1)
	case $found. in
	"${VERSION[$1]}".*) ;;
	*)
		echo "this tree is linted by $1 ${VERSION[$1]}, here is ${found:-none}"
		exit 77
		;;
	esac
}

files() {
	git ls-files -c -o --exclude-standard 2>/dev/null && return
	find . -type d \( -name .git -o -name .cache -o -name 'build*' \) -prune -o -type f -print
}

sources() {
	files | grep '\.[ch]$'
}

# Version 14 sees uninitialised va_lists from the second compilation on that one process looks at: one file per process,
# and of what several targets compile one command.
tidy() { # build-folder files...
	local build=$1
	shift
	once=$(mktemp -d) || exit 1
	trap 'rm -rf "$once"' EXIT
	jq 'unique_by(.file)' "$build/compile_commands.json" >"$once/compile_commands.json" || exit 1
	if [ $# -eq 0 ]; then
		jq -r '.[].file | select(endswith(".c"))' "$once/compile_commands.json" |
			(cd "$build" && xargs realpath)
	else
		realpath "$@"
	fi >"$once/files"
	# shellcheck disable=SC2016 # for the inner shell
	awk -v all="$(wc -l <"$once/files")" '{ print NR "/" all, $0 }' "$once/files" |
		xargs -P 2 -n 2 sh -c '
			echo "[$2] ${3#"$PWD/"}"
			exec clang-tidy -p "$1" --quiet "$3"' tidy "$once" 2>&1 |
		grep -v ' warnings\? generated\.$'
	return "${PIPESTATUS[1]}"
}

scripts() {
	files | while read -r file; do
		[ -f "$file" ] || continue
		case $(head -c 80 "$file" | tr -d '\0' | head -n 1) in
		'#!'*[/\ ]sh | '#!'*[/\ ]sh\ * | '#!'*[/\ ]bash) printf '%s\0' "$file" ;;
		esac
	done
}

case ${1-} in
tidy)
	shift
	needs clang-tidy
	tidy "$@"
	;;
cppcheck)
	needs cppcheck
	sources | grep '\.c$' |
		cppcheck --file-list=- --quiet --std=c11 -j 2 -I . -D__x86_64__ -D_GNU_SOURCE --inline-suppr \
			--library=posix,gnu,tests/support/cppcheck.cfg --enable=warning,performance,portability \
			--suppressions-list=.cppcheck --error-exitcode=1
	;;
shell)
	needs shellcheck
	scripts | xargs -0 shellcheck
	;;
format)
	needs clang-format
	sources | xargs clang-format --dry-run -Werror
	;;
*)
	sed -n 's/^# \(usage:\|      \) /\1 /p' "$0" >&2
	exit 2
	;;
esac
