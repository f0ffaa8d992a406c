#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What the binaries need and offer.

usage: symbols.py library FILE HEADER MAP   libpagefuse.so: needs libc only, stays loaded, exports what header and map
                                            promise
       symbols.py preload FILE              the preload: needs libc only, stays loaded, has no version nodes of its own
       symbols.py engine FILE               libengine.a: reaches for no file, socket, clock, thread or process
"""
import re
import sys

import elf

# The engine is plain code that is lent all it needs but memory. What it called of these no test of it could drive.
ENGINE_MUST_NOT = {
    'open', 'open64', 'openat', 'openat64', 'close', 'read', 'write', 'pread', 'pwrite', 'fopen', 'fopen64', 'socket',
    'connect', 'accept', 'accept4', 'send', 'sendmsg', 'recv', 'recvmsg', 'poll', 'ppoll', 'select', 'epoll_wait',
    'ioctl', 'syscall', 'fallocate', 'fallocate64', 'clock_gettime', 'gettimeofday', 'time', 'nanosleep', 'usleep',
    'sleep', 'pthread_create', 'pthread_mutex_lock', 'fork', 'execve', 'kill', 'getpid', 'getenv', 'exit', '_exit',
    'printf', 'fprintf', 'random', 'rand', 'getrandom',
}


def check_needs(path):
    for name in elf.needed(path):
        if not elf.LIBC.match(name):
            yield f'{path} needs {name}; inside a VMM it may need libc only'


def check_stays(path):
    if 'NODELETE' not in elf.run('readelf', '-d', '-W', path):
        yield f'{path} can be unloaded by dlclose(): its thread would go on in no code (link it with -z nodelete)'


def check_library(path, header, symbol_map):
    yield from check_needs(path)
    yield from check_stays(path)
    with open(header, encoding='utf-8') as file:
        promised = set(re.findall(r'^PAGEFUSE_PUBLIC\b[^;(]*?\b(\w+)\s*\(', file.read(), re.MULTILINE))
    with open(symbol_map, encoding='utf-8') as file:
        mapped = set(re.findall(r'^\s+(pagefuse_\w+);', file.read(), re.MULTILINE))
    symbols = elf.symbols(path, '--defined-only')
    if not promised:
        yield f'{header} promises nothing: this test is broken'
    for name in sorted(promised | mapped | set(symbols)):
        lacking = [where for where, names in (('the header', promised), ('the symbol map', mapped), (path, symbols))
                   if name not in names]
        if lacking:
            yield f'{name} is not in {" and not in ".join(lacking)}'
        elif not symbols[name]:
            yield f'{name} has no version'


def check_preload(path):
    yield from check_needs(path)
    yield from check_stays(path)
    symbols = elf.symbols(path, '--defined-only')
    if 'madvise' not in symbols:
        yield f'{path} does not offer madvise'
    # A VMM's reference is to madvise@GLIBC_2.2.5: from a file with version nodes the dynamic linker takes only a symbol
    # of just that version, from one without it takes the plain name.
    if '(VERDEF)' in elf.run('readelf', '-d', '-W', path):
        yield f'{path} has named version nodes: versioned references would bind past it'


def check_engine(path):
    undefined = {line.split()[-1] for line in elf.run('nm', '-u', path).splitlines() if ' U ' in line}
    if not undefined:
        yield f'{path} uses nothing at all: this test is broken'
    for name in sorted(undefined & ENGINE_MUST_NOT):
        yield f'{path} calls {name}: the engine is lent what it needs'


def main():
    checks = {'library': check_library, 'preload': check_preload, 'engine': check_engine}
    faults = list(checks[sys.argv[1]](*sys.argv[2:]))
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    sys.exit(1 if faults else 0)


main()
