# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A terminal for tests, by tmux: a shell in it, what is typed, and what is to be seen. Sourced behind support.sh, whose
# $directory and fail it uses.

command -v tmux >/dev/null || { echo "there is no tmux, which the terminal is of"; exit 77; }
script -q -e -c true /dev/null </dev/null >/dev/null 2>&1 || { echo "there are no pseudo terminals"; exit 77; }
unset TMUX NO_COLOR
SCREEN_TRIES=${SCREEN_TRIES:-6000} # of 0.05 s and more, so a hang
screen_number=0

terminal() {
	tmux -S "$directory/tmux.$screen_number" -f /dev/null "$@"
}

# screen_open COLUMNS LINES: an interactive shell in a terminal of that size; $1 and so on are no matter of it.
screen_open() {
	screen_number=$((screen_number + 1)) # the last one may still be on its way out
	terminal new-session -d -x "$1" -y "$2" \
		"TERM=screen PS1='ready> ' PS2= HISTFILE= exec bash --norc --noprofile -i" || exit 1
	screen_shows 'ready>'
}

screen_close() {
	terminal kill-server 2>/dev/null
}

# screen_type TEXT: and no Return. screen_keys KEY...: by tmux's names, Enter, C-c, Left.
screen_type() {
	terminal send-keys -l -- "$1"
}

screen_keys() {
	terminal send-keys -- "$@"
}

screen_size() {
	terminal resize-window -x "$1" -y "$2"
}

# What is to be seen, without blanks at the end of lines and lines at the end; a time of day is 12:00:00.
screen() {
	local shown
	shown=$(terminal capture-pane -p) # which drops the lines at the end
	sed -E 's/[0-2][0-9](:[0-5][0-9]){2}/12:00:00/; s/ +$//' <<<"$shown"
}

# screen_waits COMMAND...: until it succeeds; it may look at $seen. Fails if it never does.
screen_waits() {
	local try
	for ((try = 0; try < SCREEN_TRIES; try++)); do
		seen=$(screen)
		"$@" && return 0
		sleep 0.05
	done
	return 1
}

screen_has() {
	[[ $seen == *"$1"* ]]
}

screen_has_not() {
	[[ $seen != *"$1"* ]]
}

screen_is() {
	[ "$seen" = "$1" ]
}

# screen_gone PID: that process has ended, sooner or later. Fails if it never does.
screen_gone() {
	local try
	for ((try = 0; try < SCREEN_TRIES; try++)); do
		[[ $(ps -o stat= -p "$1") =~ ^(Z.*|)$ ]] && return 0
		sleep 0.05
	done
	return 1
}

# screen_shows TEXT: sooner or later.
screen_shows() {
	screen_waits screen_has "$1" || fail "no '$1' on the screen: $seen"
}

screen_hides() {
	screen_waits screen_has_not "$1" || fail "'$1' stays on the screen: $seen"
}

# screen_looks WHAT SCREEN: sooner or later.
screen_looks() {
	screen_waits screen_is "$2" || fail "$1: $(diff <(echo "$2") <(echo "$seen"))"
}

# screen_line N LINE: the Nth, with single blanks, sooner or later.
screen_line() {
	screen_waits screen_line_is "$1" "$2" || fail "line $1 is not '$2' on the screen: $seen"
}

screen_line_is() {
	[ "$(sed -n "$1p" <<<"$seen" | xargs -d '\n' | tr -s ' ')" = "$2" ]
}
