#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What docs/screens.md shows is what the commands say.
page=${0%/*}/../../docs/screens.md
made=$("${0%/*}/screens-example.sh") || { echo "$made"; exit 1; }
[ "$(grep -c '^\$ ' "$page")" -ge 10 ] || { echo "$page has lost its commands"; exit 1; }
diff -u "$page" <(printf '%s\n' "$made") && exit
echo "FAILED: $page is not what tests/cli/screens-example.sh prints"
exit 1
