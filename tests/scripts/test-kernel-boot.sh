#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest of tests/kernels that is stuck is told from one that is slow, whatever its kernel says meanwhile: by a QEMU
# that says what such a guest does.
# usage: test-kernel-boot.sh ROOT
set -u
cd "$1" || exit 1
faults=0
folder=$(mktemp -d) || exit 1
trap 'boot_end; rm -rf "$folder"' EXIT

# shellcheck source=tests/kernels.d/boot.sh
. tests/kernels.d/boot.sh
guard() { :; }
interrupt_check() { :; }

# stand_in: what QEMU does, from standard input.
stand_in() {
	{
		printf '#!/bin/bash\nwork() { for ((i = 0; i < 20000; i++)); do :; done; }\n'
		cat
	} >"$folder/qemu-system-x86_64"
	chmod +x "$folder/qemu-system-x86_64"
}
PATH=$folder:$PATH

# expect NAME STATUS WHY
expect() {
	local status=0
	boot_kernel "$folder" "$folder" "$folder/results" >/dev/null || status=$?
	[ "$status" = "$2" ] && [ "$BOOT_WHY" = "$3" ] && echo "ok: $1" && return
	echo "FAILED: $1: status $status, '$BOOT_WHY'; it said:"
	tail -n 20 "$folder/results.log"
	faults=$((faults + 1))
}

BOOT_SILENT_CPU_SECONDS=2
stand_in <<'END'
echo 'kernel-test begin one'
while :; do
	echo '[   12.345678] clocksource: it is late'
	work
done
END
expect 'its kernel goes on to speak' 1 'says nothing any more at: one'

stand_in <<'END'
echo 'kernel-test begin one'
while :; do
	work
done
END
expect 'silence' 1 'says nothing any more at: one'

stand_in <<'END'
for ((n = 0; n < 60; n++)); do
	echo "| at $n"
	work
done
echo 'kernel-test done'
END
expect 'a slow one that says where it is' 0 ''

stand_in <<'END'
echo 'kernel-test begin one'
END
expect 'an end' 1 'ended at: one'
exit $((faults > 0))
