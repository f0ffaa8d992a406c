# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Completion of pagefuse(1), pagefused(8) and pagefuse-exporter(8) for bash. Behind `pagefuse run --` it is left to the command.

# The position of the command's name among the words, into $position; 0 if it is not there yet.
_pagefuse_find_command() {
	local i
	position=0
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket) ((i++)) ;;
		-*) ;;
		*)
			position=$i
			return
			;;
		esac
	done
}

# The VMs that the daemon named on the line, or the usual one, knows.
_pagefuse_vms() {
	local i socket=()
	for ((i = 1; i + 1 < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == --socket ]] && socket=(--socket "${COMP_WORDS[i + 1]}")
	done
	pagefuse "${socket[@]}" list 2>/dev/null
}

# The first word behind `run` that is not of its own options, into $command_position; 0 if there is none yet.
_pagefuse_find_vmm() {
	local i
	command_position=0
	for ((i = position + 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket | --name | --mode | --domain | -n | -m | -d) ((i++)) ;;
		--)
			command_position=$((i + 1))
			return
			;;
		-*) ;;
		*)
			command_position=$i
			return
			;;
		esac
	done
}

_pagefuse_complete() {
	mapfile -t COMPREPLY < <(compgen "$@" -- "${COMP_WORDS[COMP_CWORD]}")
}

_pagefuse_run() {
	local command_position
	_pagefuse_find_vmm
	if ((command_position == COMP_CWORD)); then
		_pagefuse_complete -c
	elif ((command_position > 0)); then
		compopt -o default
	elif [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
		_pagefuse_complete -W '--name --mode --domain --no-agent-port --no-private-daemon --socket --help --'
	else
		_pagefuse_complete -c
	fi
}

# What to do, then an object; metrics are not for the daemon to tell, and have wildcards.
_pagefuse_metrics() {
	local i words=0
	for ((i = position + 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket | --period | --samples | -p | -s) ((i++)) ;;
		-*) ;;
		*) ((words++)) ;;
		esac
	done
	case $words in
	0) _pagefuse_complete -W 'list query setup collect enable disable' ;;
	1) _pagefuse_complete -W "host $(_pagefuse_vms)" ;;
	esac
}

# The last of a list with commas, behind those that are there already.
_pagefuse_columns() {
	local word=${COMP_WORDS[COMP_CWORD]}
	local before=${word%"${word##*,}"}
	mapfile -t COMPREPLY < <(compgen -P "$before" -W "$columns" -- "${word##*,}")
}

_pagefuse() {
	local position options modes='zero hints full' columns='name pid domain mode ram present shared zero saved exposed cowh
		diverged div/s hinted mappings hold-p99 cpu %cpu state why'
	COMPREPLY=()
	_pagefuse_find_command
	[[ ${COMP_WORDS[position]} == run ]] && modes="off $modes"
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--socket | --png | --output | --from)
		_pagefuse_complete -f
		return
		;;
	--by)
		_pagefuse_complete -W 'vm domain'
		return
		;;
	--mode)
		_pagefuse_complete -W "$modes"
		return
		;;
	--page-fusion)
		_pagefuse_complete -W 'on off'
		return
		;;
	--sort)
		_pagefuse_complete -W "$columns"
		return
		;;
	--columns)
		_pagefuse_columns
		return
		;;
	--with)
		_pagefuse_complete -W "$(_pagefuse_vms)"
		return
		;;
	--color)
		_pagefuse_complete -W 'auto always never'
		return
		;;
	--name | --domain | --watch | --pairs | --cell | --width | --period | --samples | --delay | --count | --filter | --title) return ;;
	esac
	if ((position == 0)); then
		_pagefuse_complete -W 'run status top list showvminfo modifyvm scan estimate modules map metrics report doctor help --socket --help --version'
		return
	fi
	case ${COMP_WORDS[position]} in
	run)
		_pagefuse_run
		return
		;;
	help)
		_pagefuse_complete -W 'run status top list showvminfo modifyvm scan estimate modules map metrics report doctor'
		return
		;;
	top) options='--batch --json --delay --count --sort --filter --columns' ;;
	status) options='--by --watch --json' ;;
	modifyvm) options='--page-fusion --mode --forget --wait --json' ;;
	scan) options='--wait --json' ;;
	estimate) options='--look --pairs --json' ;;
	modules) options='--all --json' ;;
	map) options='--with --labels --cell --width --color --png --json' ;;
	report) options='--output --title --from --json' ;;
	metrics) options='--period --samples --list --json' ;;
	*) options='--json' ;;
	esac
	if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
		_pagefuse_complete -W "$options --socket --help"
	elif [[ ${COMP_WORDS[position]} == metrics ]]; then
		_pagefuse_metrics
	elif [[ ${COMP_WORDS[position]} =~ ^(showvminfo|modifyvm|scan|estimate|modules|map|doctor)$ ]]; then
		_pagefuse_complete -W "$(_pagefuse_vms)"
	fi
}

_pagefused() {
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--socket | --config | --vms) _pagefuse_complete -f ;;
	*) _pagefuse_complete -W '--socket --config --vms --private --help --version' ;;
	esac
}

_pagefuse_exporter() {
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--socket | --textfile) _pagefuse_complete -f ;;
	--listen) COMPREPLY=() ;;
	*) _pagefuse_complete -W '--listen --textfile --socket --help --version' ;;
	esac
}

complete -F _pagefuse pagefuse
complete -o filenames -F _pagefused pagefused
complete -o filenames -F _pagefuse_exporter pagefuse-exporter
