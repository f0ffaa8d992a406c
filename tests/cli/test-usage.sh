#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is wrong with a command line is said in one line that names it, and ends with exit code 2.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

complains 2 'no command given'
complains 2 "'frobnicate'" frobnicate
complains 2 "'--frobnicate'" --frobnicate
complains 2 "'--socket' needs a value" --socket
complains 2 "'nosuch'" help nosuch
complains 2 "path is empty" --socket '' status
complains 2 "longer than the 107 bytes" --socket "/$(printf '%0107d' 0)" status

for command in status top list showvminfo modifyvm scan estimate modules map metrics report doctor run; do
	complains 2 "'--frobnicate'" "$command" --frobnicate
	complains 2 "'--socket' needs a value" "$command" --socket
	run 0 help "$command"
	prints "Usage: pagefuse $command"
	prints '--socket PATH'
	run 0 "$command" --help
	prints "Usage: pagefuse $command"
done
complains 2 "'-x'" status -x
complains 2 "'extra'" status extra
complains 2 "'extra'" list extra
complains 2 "'two'" showvminfo one two
complains 2 'needs a VM' showvminfo
complains 2 "'two'" doctor one two
complains 2 "'two'" modifyvm --mode full one two
complains 2 'needs a VM' modifyvm --mode full
complains 2 'nothing to modify' modifyvm one
complains 2 "'maybe'" modifyvm --page-fusion maybe one
complains 2 "'fast'" modifyvm --mode fast one
complains 2 "'off'" modifyvm --mode off one
complains 2 'that nothing is' modifyvm --page-fusion off --mode full one
complains 2 "'a b'" modifyvm --mode full 'a b'
complains 2 "'a b'" scan 'a b'
complains 2 "'a b'" estimate 'a b'
complains 2 "'1001'" estimate --pairs 1001
complains 2 "'-1'" estimate --pairs -1
complains 2 "''" estimate --pairs ''
complains 2 "'1x'" estimate --pairs 1x
complains 2 "'99999999999999999999'" estimate -p 99999999999999999999
complains 2 "'vm65'" estimate vm{1..66}
complains 2 'needs a word' metrics
complains 2 "'draw'" metrics draw
complains 2 "'CPU/*' is no metric of '*'" metrics list '*' 'RAM/*,CPU/*'
complains 2 "'RAM/VMM/Shared' is no metric of 'web1'" metrics query web1 RAM/VMM/Shared
complains 2 "'' is no metric" metrics query host ''
complains 2 "'four'" metrics query host '*' four
complains 2 "'a b'" metrics query 'a b'
complains 2 "'0'" metrics setup --period 0
complains 2 "'86401'" metrics collect --period 86401
complains 2 "'1x'" metrics setup --period 1x
complains 2 "'-1'" metrics setup --samples -1
complains 2 "'241'" metrics setup --samples 241
complains 2 "'99999999999999999999'" metrics setup --samples 99999999999999999999
complains 2 'of setup and collect' metrics query --period 2
complains 2 'of setup, enable and disable' metrics collect --list
complains 2 'its agent does not tell' metrics setup '*' Guest/RAM/Usage/Free
complains 2 'its agent does not tell' metrics collect web1 Guest/RAM/Usage/Cache:avg
complains 2 "'soon'" status --watch soon
complains 2 "'0'" status --watch 0
complains 2 "'nan'" status --watch nan
complains 2 "'fast'" run --mode fast -- true
complains 2 'needs a command' run
complains 2 "'--name' needs a value" run --name
complains 2 "'a b'" run --name 'a b' -- true
complains 2 "''" run --name '' -- true
complains 2 "'$(printf '%064d' 0)'" run --name "$(printf '%064d' 0)" -- true
complains 2 "a???b" run --name $'a\e\n\tb' -- true

run 0 help
for command in status top list showvminfo modifyvm scan estimate metrics report doctor run; do
	prints "  $command"
done
run 0 --help
run 0 --version
prints 'pagefuse 0.'

if [ -w /dev/full ]; then
	"$PAGEFUSE" help >/dev/full 2>"$directory/complaint"
	equal 'exit code with standard output full' 1 $?
fi
end
