# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A little swap on zram of one's own. To be sourced.
#
#   zram_open [MIB]    makes it and swaps on it; fails where the kernel has no zram
#   zram_close         undoes that; what had to be loaded for it goes when the script ends

ZRAM_MIB=64

zram_open() {
	local control=/sys/class/zram-control
	if [ ! -r $control/hot_add ] && modprobe zram 2>/dev/null; then
		guard command 'modprobe -q -r zram' # unless somebody uses it then
	fi
	# Not to be interrupted between the device's birth and the message of its number.
	ZRAM=$(trap '' INT TERM HUP; cat $control/hot_add 2>/dev/null) || return 1
	guard command "swapoff /dev/zram$ZRAM; echo $ZRAM >/sys/class/zram-control/hot_remove"
	echo "${1:-$ZRAM_MIB}M" >"/sys/block/zram$ZRAM/disksize" &&
		mkswap -q "/dev/zram$ZRAM" && swapon "/dev/zram$ZRAM"
}

zram_close() {
	[ -n "${ZRAM:-}" ] || return 0
	! grep -q "^/dev/zram$ZRAM " /proc/swaps || swapoff "/dev/zram$ZRAM"
	if echo "$ZRAM" >/sys/class/zram-control/hot_remove; then
		guard forget command "swapoff /dev/zram$ZRAM; echo $ZRAM >/sys/class/zram-control/hot_remove"
	else # tried once more at the end
		echo "benchmarks/run: /dev/zram$ZRAM cannot be removed now" >&2
	fi
	ZRAM=''
}
