#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What bash offers to complete. Needs $COMPLETION, the file that is installed for it; that of the agent is beside it.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

# shellcheck source=packaging/pagefuse.bash
. "${COMPLETION:?names the completion}"
# shellcheck source=packaging/pagefuse-agent.bash
. "${COMPLETION%/*}/pagefuse-agent.bash"
compopt() { :; } # only there while bash completes
ln -s "$(realpath "$PAGEFUSE")" "$directory/pagefuse"
PATH=$directory:$PATH

# offers EXPECTED WORD...: with the cursor at the end of the last word, these are offered.
offers() {
	local expected=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	read -r _ _ complete <<<"$(complete -p "$1" | sed 's/.* -F/complete -F/')"
	"${complete%% *}"
	equal "completion of '$*'" "$expected" "${COMPREPLY[*]}"
}

offers 'run report' pagefuse r
offers '--output' pagefuse report --o
offers "$directory/pagefuse" pagefuse report --output "$directory/page"
offers '' pagefuse report --title ''
offers 'report' pagefuse help rep
offers 'status' pagefuse st
offers 'status' pagefuse --socket /x st
offers '--socket' pagefuse --s
offers 'off zero hints full' pagefuse run --mode ''
offers 'zero hints full' pagefuse modifyvm --mode ''
offers 'on off' pagefuse modifyvm --page-fusion ''
offers '--mode' pagefuse run --m
offers '--domain' pagefuse run --d
offers '--watch' pagefuse status --w
offers 'top' pagefuse to
offers 'top' pagefuse help to
offers '--count --columns' pagefuse top --co
offers 'saved' pagefuse top --sort sa
offers 'name,mode,saved' pagefuse top --columns name,mode,sa
offers '' pagefuse top --delay ''
offers '--wait' pagefuse scan --w
offers 'estimate' pagefuse es
offers 'estimate' pagefuse help e
offers '--pairs' pagefuse estimate --p
offers '--look' pagefuse estimate --l
offers '' pagefuse estimate --pairs ''
offers '--period' pagefuse metrics setup --p
offers '--all' pagefuse modules --a
offers '--labels' pagefuse map --l
offers 'always' pagefuse map --color al
offers '' pagefuse map --cell ''
offers '' pagefuse metrics setup --period ''
offers 'query' pagefuse metrics q
offers 'metrics' pagefuse help me
offers '--json' pagefuse list --j
offers 'doctor' pagefuse help d
offers '' pagefuse run -- qemu-system-x86_64 --m
offers '' pagefuse run --name x qemu-system-x86_64 --m
offers '' pagefuse showvminfo w
offers '--vms --version' pagefused --v
offers "$directory/pagefuse" pagefused --config "$directory/page"
offers '--textfile' pagefuse-exporter --t
offers '' pagefuse-exporter --listen ''
offers "$directory/pagefuse" pagefuse-exporter --socket "$directory/page"
offers '--dry-run' pagefuse-agent --d
offers "$directory" pagefuse-agent --root "$directory"
offers "$directory/pagefuse" pagefuse-agent --config "$directory/page"

start_daemon "{\"status\": [$STATUS]}"
offers 'web1 db2' pagefuse showvminfo ''
offers 'db2' pagefuse scan --wait web1 d
offers 'web1 db2' pagefuse estimate ''
offers 'db2' pagefuse estimate --pairs 5 web1 d
offers 'web1' pagefuse modules --all w
offers 'web1' pagefuse map --labels w
offers 'web1 db2' pagefuse map --with ''
offers 'host web1 db2' pagefuse metrics --period 2 setup ''
offers '' pagefuse metrics query web1 ''
mv "$PAGEFUSE_SOCKET" "$directory/moved"
offers 'web1' pagefuse --socket "$directory/moved" doctor w
offers '' pagefuse list w
end
