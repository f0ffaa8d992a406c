#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What every file of the tree has to keep to, as far as a script can tell: a licence line, lines of bounded length,
sources of bounded size, and no path that is only there on somebody's machine.

usage: style.py ROOT
"""
import re
import sys

import tree

COLUMNS_MAX = 120
SOURCE_LINES_MAX = 800
HEADER_LINES_WISHED = 100

LICENCE = 'SPDX-License-Identifier: LGPL-2.1-or-later'
LICENSED = ('.c', '.h', '.S', '.map', '.sh', '.py', '.scd', '.in', '.service', '.conf', 'meson.build',
            'meson_options.txt')
MACHINE_PATHS = [
    (re.compile(r'(?<![\w.])/(work|builds|Users|mnt/data)/'), 'a path of one machine'),
    (re.compile(r'/tmp/[a-z0-9_-]+/[A-Z]'), 'a path of one machine'),
    (re.compile(r'(^|[^\w])\.\./shared\b'), 'a path outside the tree'),
]


def is_script(content):
    return content.startswith('#!')


def check_licence(name, content):
    if name.endswith(LICENSED) or is_script(content):
        if not any(LICENCE in line for line in content.splitlines()[:5]):
            yield f'{name}: no line "{LICENCE}" at the top'


def check_lines(name, content):
    if not (name.endswith(('.c', '.h', '.sh', '.py')) or is_script(content)):
        return
    for number, line in enumerate(content.splitlines(), 1):
        if len(line.expandtabs(8)) > COLUMNS_MAX:
            yield f'{name}:{number}: longer than {COLUMNS_MAX} columns (tabs are 8)'
        if line != line.rstrip():
            yield f'{name}:{number}: blanks at the end of the line'
    if content and not content.endswith('\n'):
        yield f'{name}: the last line has no end'


def check_size(name, content):
    lines = content.count('\n')
    if name.endswith('.c') and lines > SOURCE_LINES_MAX:
        yield f'{name}: {lines} lines; past {SOURCE_LINES_MAX} it holds more than one topic'
    if name.endswith('.h') and lines > HEADER_LINES_WISHED:
        print(f'note: {name} has {lines} lines; headers read best under {HEADER_LINES_WISHED}')


def check_paths(name, content):
    for number, line in enumerate(content.splitlines(), 1):
        for pattern, what in MACHINE_PATHS:
            if pattern.search(line):
                yield f'{name}:{number}: {what}: {line.strip()}'


def main():
    root = sys.argv[1]
    faults = []
    looked_at = 0
    for name in tree.files(root):
        content = tree.text(root, name)
        if content is None or name == 'COPYING':
            continue
        looked_at += 1
        for check in (check_licence, check_lines, check_size):
            faults += check(name, content)
        if name != 'tests/layers/style.py':
            faults += check_paths(name, content)
    tree.finish(faults, looked_at)


main()
