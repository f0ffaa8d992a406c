#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# .ci/run over stand-ins for ./check, tests/fresh, tests/packages and tests/kernels: one closing line for all, and what
# fails is never lost.
#
# usage: test-ci.sh ROOT
set -u

tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/.ci" "$tree/tests"
cp "$1/.ci/run" "$tree/.ci/run"
cp -r "$1/tests/support" "$tree/tests/support"
faults=0

# expect STATUS CLOSING-LINE CHECK FRESH [KERNELS [PACKAGES]], the latter being shell commands
expect() {
	local status said
	printf '#!/bin/sh\n%s\n' "$3" >"$tree/check"
	printf '#!/bin/sh\n%s\n' "$4" >"$tree/tests/fresh"
	printf '#!/bin/sh\n%s\n' "${5:-echo 0 passed, 0 failed, 0 skipped}" >"$tree/tests/kernels"
	printf '#!/bin/sh\n%s\n' "${6:-echo 0 passed, 0 failed, 0 skipped}" >"$tree/tests/packages"
	chmod +x "$tree/check" "$tree/tests/fresh" "$tree/tests/kernels" "$tree/tests/packages"
	said=$("$tree/.ci/run" 2>&1)
	status=$?
	if [ $status = "$1" ] && [ "$(tail -n 1 <<<"$said")" = "$2" ] &&
		[ "$(grep -c '^[0-9]* passed, [0-9]* failed, [0-9]* skipped$' <<<"$said")" = 1 ]; then
		echo "ok: $2, $status"
	else
		echo "FAILED: wanted '$2' and exit status $1, got $status and:"
		echo "$said"
		faults=$((faults + 1))
	fi
}

expect 0 '14 passed, 0 failed, 3 skipped' \
	'echo 12 passed, 0 failed, 2 skipped' \
	'echo 2 passed, 0 failed, 1 skipped'
expect 1 '13 passed, 1 failed, 2 skipped' \
	'echo 12 passed, 0 failed, 2 skipped' \
	'echo 1 passed, 1 failed, 0 skipped; exit 1'
expect 1 '13 passed, 1 failed, 0 skipped' \
	'echo 11 passed, 1 failed, 0 skipped; exit 1' \
	'echo 2 passed, 0 failed, 0 skipped'
expect 1 '16 passed, 1 failed, 1 skipped' \
	'echo 12 passed, 0 failed, 0 skipped' \
	'echo 2 passed, 0 failed, 0 skipped' \
	'echo 2 passed, 1 failed, 1 skipped; exit 1'
expect 1 '15 passed, 3 failed, 1 skipped' \
	'echo 12 passed, 0 failed, 0 skipped' \
	'echo 2 passed, 0 failed, 0 skipped' \
	'echo 0 passed, 2 failed, 1 skipped; exit 1' \
	'echo 1 passed, 1 failed, 0 skipped; exit 1'
# Whose words and whose exit status do not agree has failed.
expect 1 '14 passed, 1 failed, 0 skipped' \
	'echo 12 passed, 0 failed, 0 skipped; exit 3' \
	'echo 2 passed, 0 failed, 0 skipped'
expect 1 '13 passed, 1 failed, 0 skipped' \
	'echo 11 passed, 1 failed, 0 skipped' \
	'echo 2 passed, 0 failed, 0 skipped'
# Without a closing line.
expect 1 '2 passed, 1 failed, 0 skipped' 'echo on fire; exit 0' 'echo 2 passed, 0 failed, 0 skipped'
expect 1 '12 passed, 1 failed, 0 skipped' 'echo 12 passed, 0 failed, 0 skipped' 'echo on fire; exit 1'
expect 1 '0 passed, 0 failed, 5 skipped' \
	'echo 0 passed, 0 failed, 3 skipped' \
	'echo 0 passed, 0 failed, 2 skipped'

# Nothing goes on for longer than CI does: what runs is ended, what has not begun is skipped.
PAGEFUSE_CI_SECONDS=20 expect 1 '0 passed, 1 failed, 3 skipped' \
	'exec sleep 600' \
	'echo 2 passed, 0 failed, 0 skipped' \
	'echo 2 passed, 0 failed, 0 skipped' \
	'echo 2 passed, 0 failed, 0 skipped'

# What a part that failed said last is said once more at the end, past all that the others say.
printf '#!/bin/sh\n%s\n' 'echo failed:; echo a pump is on fire; echo 1 passed, 1 failed, 0 skipped; exit 1' \
	>"$tree/check"
printf '#!/bin/sh\n%s\n' 'echo all is well; echo 2 passed, 0 failed, 0 skipped' >"$tree/tests/fresh"
end=$("$tree/.ci/run" 2>&1 | sed '1,/all is well/d')
if ! grep -q 'a pump is on fire' <<<"$end"; then
	echo "FAILED: the end does not tell what failed:"
	echo "$end"
	faults=$((faults + 1))
fi

# Told to end, it ends what runs, waits for that to clean up, begins nothing else, and leaves nothing.
mkdir "$tree/tmp"
cat >"$tree/check" <<'END'
#!/bin/bash
trap 'sleep 0.5; echo cleaned up; exit 143' TERM
echo begun
while :; do sleep 0.1; done
END
printf '#!/bin/sh\necho begun too\n' >"$tree/tests/fresh"
TMPDIR=$tree/tmp setsid "$tree/.ci/run" >"$tree/said" 2>&1 &
run=$!
until grep -q begun "$tree/said"; do sleep 0.1; done
kill "$run"
wait "$run"
status=$?
if [ $status = 143 ] && grep -q '^cleaned up' "$tree/said" && ! grep -q 'begun too' "$tree/said" &&
	[ -z "$(ls -A "$tree/tmp")" ]; then
	echo 'ok: told to end'
else
	echo "FAILED: told to end: exit status $status, left '$(ls -A "$tree/tmp")', and said:"
	cat "$tree/said"
	faults=$((faults + 1))
fi
[ $faults = 0 ]
