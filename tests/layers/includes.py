#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Who may include whom. The folders are the architecture; this table is its picture:

    common <- protocol <- library <- preload          include: the public header, library's contract
    common <- protocol <- engine <- daemon
    common <- protocol <- cli, agent

And in some folders no circles: a unit, that is NAME.c with NAME.h, NAME-internal.h and NAME-impl.h, includes none that
includes it, directly or through others. Then each can be read, and tested, with what is below it. Headers of INTERFACES
are units by themselves, as several sources implement them. calls.py looks for circles of calls.

usage: includes.py ROOT
"""
import os
import re
import sys

import circles
import tree

MAY_INCLUDE = {
    'common': {'common'},
    'protocol': {'common', 'protocol'},
    'include': set(),
    'library': {'common', 'protocol', 'include', 'library'},
    'preload': {'common', 'include', 'library', 'preload'},
    'engine': {'common', 'protocol', 'engine'},
    'daemon': {'common', 'protocol', 'engine', 'daemon'},
    'cli': {'common', 'protocol', 'cli'},
    'agent': {'common', 'protocol', 'agent'},
    'examples': {'include', 'examples'},
}
# Tests and benchmarks look into everything; they are no part of what is installed.
FREE = {'tests', 'benchmarks'}

# Folders without circles among their units.
WITHOUT_CIRCLES = {'common', 'protocol', 'engine', 'daemon', 'cli', 'agent'}
INTERFACES = {'engine/engine.h'}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def target_folder(root, includer, quote, path):
    """The project's folder that the included file is in; None: not a file of the project; '': it cannot be told."""
    if path in ('pagefuse.h', 'include/pagefuse.h'):
        return 'include'
    first = path.split('/')[0]
    if '/' in path and (first in MAY_INCLUDE or first in FREE):
        return first
    if quote == '<':
        return None
    if '..' in path.split('/'):
        return ''
    beside = os.path.join(os.path.dirname(includer), path)
    return includer.split('/')[0] if os.path.exists(os.path.join(root, beside)) else ''


def unit_of(name):
    return name if name in INTERFACES else re.sub(r'(-internal|-impl)?\.[ch]$', '', name)


def check_circles(includes):
    """@includes: of (includer, included), both names of files in the same folder."""
    units = {}
    for includer, included in includes:
        if unit_of(includer) != unit_of(included):
            units.setdefault(unit_of(includer), set()).add(unit_of(included))
    for way in circles.find(units):
        yield 'a circle of includes: ' + ' -> '.join(way)


def main():
    root = sys.argv[1]
    faults = []
    inside = []
    looked_at = 0
    for name in tree.files(root):
        folder = name.split('/')[0]
        if not name.endswith(('.c', '.h')) or folder in FREE:
            continue
        looked_at += 1
        if folder not in MAY_INCLUDE:
            faults.append(f'{name}: C source outside the folders of the architecture')
            continue
        for quote, path in INCLUDE.findall(tree.text(root, name) or ''):
            target = target_folder(root, name, quote, path)
            if target == '':
                faults.append(f'{name}: "{path}" is neither beside it nor named from the root of the tree')
            elif target is not None and target not in MAY_INCLUDE[folder]:
                faults.append(f'{name}: {folder} must not include {path}')
            if target == folder and folder in WITHOUT_CIRCLES:
                inside.append((name, path if '/' in path else os.path.join(os.path.dirname(name), path)))
    faults += check_circles(inside)
    tree.finish(faults, looked_at)


main()
