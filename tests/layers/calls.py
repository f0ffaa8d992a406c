#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Who calls whom: among the object files of an archive there is no circle. An object file depends on another one if it
uses a symbol of it, be it a call, data or the address of a function. Calls upwards go through pointers that the caller
was given. includes.py cannot see these circles where several sources share one header.

library/ and preload/ are not looked at: they do have circles, as each part of them may have to notice a fork, and a
fork ends the work of all parts.

usage: calls.py ARCHIVE...
"""
import re
import sys

import circles
import elf

MEMBER = re.compile(r'([^/\[\]]+)\.c\.o\]?: (\S+) (\w)')


def uses(archive):
    """unit -> units of the same archive that define a symbol which it leaves undefined."""
    defined, undefined = {}, []
    for line in elf.run('nm', '-A', '-P', archive).splitlines():
        found = MEMBER.search(line)
        if found is None:
            continue
        unit, symbol, kind = found.groups()
        if kind == 'U':
            undefined.append((unit, symbol))
        elif kind.isupper():
            defined[symbol] = unit
    units = {unit: set() for unit in defined.values()}
    for unit, symbol in undefined:
        if defined.get(symbol, unit) != unit:
            units.setdefault(unit, set()).add(defined[symbol])
    return units


def main():
    faults = []
    for archive in sys.argv[1:]:
        units = uses(archive)
        if not any(units.values()):
            faults.append(f'{archive}: no object file uses another: this test is broken')
        faults += [f'{archive}: a circle of calls: ' + ' -> '.join(way) for way in circles.find(units)]
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    sys.exit(1 if faults else 0)


main()
