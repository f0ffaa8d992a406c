# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# To be sourced first, before a script changes its folder or shifts its words, by one that calls interrupt_open.
#
# Bash 5.2 cannot be given a SIGINT: it forgets one that comes while it reads what a command prints, and it runs in
# circles for ever if one comes just when it begins to wait for a command. So the script is started anew, in a process
# group that gets none, under a process that passes it on as SIGUSR1. Where that cannot be, it has its traps only.

# "SUPERVISOR SCRIPT", process ids; another script's, or anybody's, means nothing here.
INTERRUPT_SUPERVISOR=${INTERRUPT_SUPERVISOR-}
if [ "${INTERRUPT_SUPERVISOR#* }" = "$$" ]; then
	[ "${INTERRUPT_SUPERVISOR% *}" = "$PPID" ] || exit 137 # it is gone already
elif command -v perl >/dev/null && setpriv --pdeathsig KILL true 2>/dev/null; then
	[[ $- = *x* ]] && set -- -x "$0" "$@" || set -- "$0" "$@"
	PERL_BADLANG=0 exec perl "$(dirname "${BASH_SOURCE[0]}")/supervise.pl" "$BASH" "$@"
fi
unset INTERRUPT_SUPERVISOR PERL_BADLANG
INTERRUPT_SUPERVISED=yes
