# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Completion of pagefuse-agent(8) for bash.

_pagefuse_agent() {
	local action=(-W '--config --port --dry-run --json --root --help --version')
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--config | --port) action=(-f) ;;
	--root) action=(-d) ;;
	esac
	mapfile -t COMPREPLY < <(compgen "${action[@]}" -- "${COMP_WORDS[COMP_CWORD]}")
}

complete -o filenames -F _pagefuse_agent pagefuse-agent
