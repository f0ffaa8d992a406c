# SPDX-License-Identifier: LGPL-2.1-or-later
# What zsh offers to complete, in a terminal of its own: for each line of standard input, with the cursor at its end,
# prints a line with what is offered, sorted.
#
# usage: zsh -f completion.zsh FUNCTIONS-FOLDER EMPTY-FOLDER
zmodload zsh/zpty || exit 77
typeset folder=$1 empty=$2
mkfifo $empty/offers && exec 3<>$empty/offers || exit 1

cat >$empty/init <<END
PROMPT= RPROMPT=
unsetopt zle_bracketed_paste beep 2>/dev/null
fpath=(${(q)folder} \$fpath)
autoload -Uz compinit
compinit -u -D
zstyle ':completion:*' completer _complete
typeset -a offers

# In the place of zsh's own, which has no way to say what it would show.
compadd() {
	local hits=() before=()
	if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
		builtin compadd "\$@"
		return
	fi
	builtin compadd -A hits "\$@"
	zparseopts -E P:=before
	[[ -z \$hits ]] || offers+=(\$IPREFIX\${^\${:-\$before[2]}}\$^hits)
	[[ -n \$hits ]]
}

answer() {
	offers=()
	_main_complete
	compstate[insert]= compstate[list]=
	print -r -- \${(ou)offers} >$empty/offers
}
zle -C answer complete-word answer
clear-line() { BUFFER= }
zle -N clear-line
bindkey '^T' answer
bindkey '^U' clear-line
# Once it reads keys.
zle-line-init() {
	zle -D zle-line-init
	print ready >$empty/offers
}
zle -N zle-line-init
END

zpty terminal zsh -f -i
zpty -w terminal "TERM=dumb; source ${(q)empty}/init"
read -r -t 300 -u 3 ready || { print "zsh does not start"; exit 1 }
while IFS= read -r line; do
	zpty -n -w terminal $'\025'$line$'\024'
	IFS= read -r -t 300 -u 3 offers || { print "no answer for '$line'"; exit 1 }
	print -r -- $offers
	zpty -r -t terminal said 2>/dev/null # else it fills up
done
zpty -d terminal
