#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Who may include whom. The folders are the architecture; this table is its picture:

    common <- protocol <- library <- preload          include: the public header, library's contract
    common <- protocol <- engine <- daemon
    common <- protocol <- cli, agent

In the folders of ACYCLIC there is an order within, too: no module includes, by whatever way, what includes it. A .c and
the .h of its name are one module, but for headers of INTERFACES, which several modules carry out.

usage: includes.py ROOT
"""
import os
import re
import sys

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
ACYCLIC = {'engine'}
INTERFACES = {'engine/engine.h'}
# Tests and benchmarks look into everything; they are no part of what is installed.
FREE = {'tests', 'benchmarks'}

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


def module(name):
    return name if name in INTERFACES else os.path.splitext(name)[0]


def circle(graph, at, path, done):
    """The first circle found from a module on; None: there is none."""
    if at in path:
        return path[path.index(at):] + [at]
    if at in done:
        return None
    for target in sorted(graph.get(at, ())):
        found = circle(graph, target, path + [at], done)
        if found:
            return found
    done.add(at)
    return None


def main():
    root = sys.argv[1]
    faults = []
    looked_at = 0
    graph = {}
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
            if folder in ACYCLIC and target == folder and module(path) != module(name):
                graph.setdefault(module(name), set()).add(module(path))
            if target == '':
                faults.append(f'{name}: "{path}" is neither beside it nor named from the root of the tree')
            elif target is not None and target not in MAY_INCLUDE[folder]:
                faults.append(f'{name}: {folder} must not include {path}')
    done = set()
    for name in sorted(graph):
        found = circle(graph, name, [], done)
        if found:
            faults.append(f'{name}: included in a circle: ' + ' -> '.join(found))
            break
    tree.finish(faults, looked_at)


main()
