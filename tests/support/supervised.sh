# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# To be sourced first, before a script changes its folder or shifts its words, by one that calls interrupt_open.
#
# Bash 5.2 cannot be given a SIGINT: it forgets one that comes while it reads what a command prints, and it runs in
# circles for ever if one comes just when it begins to wait for a command. So the script is started anew, in a process
# group that gets none, under a process that passes it on as SIGUSR1. Where there is no perl, it has its traps only.

if [ "${INTERRUPT_SUPERVISOR:-}" != "$PPID" ] && command -v perl >/dev/null && command -v setpriv >/dev/null; then
	exec perl "$(dirname "${BASH_SOURCE[0]}")/supervise.pl" "$BASH" "$0" "$@"
fi
unset INTERRUPT_SUPERVISOR
INTERRUPT_SUPERVISED=yes
