#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A program with the preload, by a link: LD_PRELOAD cannot hold every path that a build folder may have.
#
# usage: started.sh PRELOAD COMMAND…
preload=$1
shift
folder=$(mktemp -d) || exit 1
ln -s "$preload" "$folder/libpagefuse-preload.so"
LD_PRELOAD=$folder/libpagefuse-preload.so "$@"
status=$?
rm -r "$folder"
exit "$status"
