# SPDX-License-Identifier: LGPL-2.1-or-later
"""What binaries need and offer, by binutils."""
import re
import subprocess

LIBC = re.compile(r'^(libc\.so\.6|libc\.musl-.*|ld-linux[\w.-]*)$')


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def needed(path):
    return re.findall(r'\(NEEDED\).*\[(.*)\]', run('readelf', '-d', '-W', path))


def symbols(path, which):
    """
    name -> version ('' if none) of the dynamic symbols; which: --defined-only, --undefined-only. A version's own name
    is no symbol.
    """
    found = {}
    for line in run('nm', '-D', which, '--with-symbol-versions', path).splitlines():
        kind, name = line.split()[-2:]
        name, _, version = name.partition('@')
        if kind != 'A':
            found[name] = version.lstrip('@')
    return found
