#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What zsh offers to complete. Needs $COMPLETION, beside which is the file that is installed for it.
command -v zsh >/dev/null || { echo "needs zsh"; exit 77; }
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

functions=$(cd "$(dirname "${COMPLETION:?names the completion of bash}")" && pwd)
asker=$(cd "${0%/*}" && pwd)/completion.zsh
zsh -n "$functions/_pagefuse" || fail "syntax"
ln -s "$(realpath "$PAGEFUSE")" "$directory/pagefuse"
PATH=$directory:$PATH
lines=() expected=()

# offers EXPECTED LINE: with the cursor at the end of the line, these are offered, in the order of the alphabet.
offers() {
	expected+=("$1")
	lines+=("$2")
}

# Asks for all of them at once, as zsh takes a moment to start.
ask() {
	local offered i
	rm -rf "$directory/zsh"
	mkdir "$directory/zsh"
	mapfile -t offered < <(printf '%s\n' "${lines[@]}" | zsh -f "$asker" "$functions" "$directory/zsh")
	for i in "${!lines[@]}"; do
		equal "completion of '${lines[i]}'" "${expected[i]}" "${offered[i]-none}"
	done
	lines=() expected=()
}

offers 'report run' 'pagefuse r'
offers '--output' 'pagefuse report --o'
offers '' 'pagefuse report --title '
offers 'doctor estimate help list map metrics modifyvm modules report run scan showvminfo status top' 'pagefuse '
offers 'status' 'pagefuse --socket /x st'
offers '--socket' 'pagefuse --s'
offers 'full hints off zero' 'pagefuse run --mode '
offers 'full hints off zero' 'pagefuse run -m '
offers 'full hints zero' 'pagefuse modifyvm --mode '
offers 'off on' 'pagefuse modifyvm --page-fusion '
offers '--mode' 'pagefuse run --m'
offers '--watch' 'pagefuse status --w'
offers 'top' 'pagefuse help to'
offers '--columns --count' 'pagefuse top --co'
offers 'saved' 'pagefuse top --sort sa'
offers 'name,mode,saved' 'pagefuse top --columns name,mode,sa'
offers '' 'pagefuse top --delay '
offers '--look' 'pagefuse estimate --l'
offers '' 'pagefuse estimate --pairs '
offers 'query' 'pagefuse metrics q'
offers '--json' 'pagefuse list --j'
offers 'pagefuse' 'pagefuse run -- pagefus'
offers '--socket' 'pagefuse run --name x -- pagefuse status --so'
offers '' 'pagefuse showvminfo w'
offers '--version --vms' 'pagefused --v'
offers '--textfile' 'pagefuse-exporter --t'
offers '--dry-run' 'pagefuse-agent --d'
ask

start_daemon "{\"status\": [$STATUS]}"
offers 'db2 web1' 'pagefuse showvminfo '
offers 'db2' 'pagefuse scan --wait web1 d'
offers 'db2' 'pagefuse estimate --pairs 5 web1 d'
offers 'db2 host web1' 'pagefuse metrics --period 2 setup '
offers '' 'pagefuse list w'
ask
mv "$PAGEFUSE_SOCKET" "$directory/moved:a b"
offers 'web1' "pagefuse --socket '$directory/moved:a b' doctor w"
offers 'web1' "pagefuse doctor --socket '$directory/moved:a b' w"
offers '' 'pagefuse doctor w'
ask
end
