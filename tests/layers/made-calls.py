#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The library's list of the system calls that it makes is whole, as far as names tell: each call that its sources make by
number, or that the functions of libc make which the preload imports, is there; and what is there is made by somebody,
and named in the manual. That the list is enough with all arguments, tests/preload/confined.c sees.

usage: made-calls.py ROOT PRELOAD
"""
import glob
import os
import re
import sys

import elf

LIST = 'library/made-calls.c'
MANUAL = 'docs/man/pagefuse-preload.7.scd'
# What libc's functions call; nothing where they are not here. A new import has to be looked at.
LIBC = {
    'clock_gettime': ['clock_gettime'],
    'fstatfs64': ['fstatfs'],
    'geteuid': ['geteuid'],
    'getrlimit64': ['prlimit64'],
    'getsockopt': ['getsockopt'],
    'lstat64': ['newfstatat'],
    'poll': ['poll', 'ppoll'],
    'prctl': ['prctl'],
    'pthread_cond_wait': ['futex'],
    'getpid': ['getpid'],
    'pthread_create': ['brk', 'clone', 'clone3', 'exit', 'getrandom', 'mmap', 'mprotect', 'munmap', 'restart_syscall',
                       'rseq', 'rt_sigaction', 'rt_sigprocmask', 'set_robust_list'],
    'pthread_mutex_lock': ['futex'],
    'sched_yield': ['sched_yield'],
    'statfs64': ['statfs'],
    'statx': ['statx'],
}
CALL_NOTHING = re.compile(
    r'(_ITM_.*|__cxa_finalize|__errno_location|__gmon_start__|__isoc\d+_\w+|__register_atfork|dl(close|error|open|sym)|'
    r'fileno|getenv|mem\w+|pthread_attr_\w+|pthread_(cond|mutex)_(init|signal|trylock|unlock)|'
    r'pthread_(join|setcancelstate|sigmask)|sigfillset|snprintf|str\w+|stpcpy|mkdir|'
    r'__\w+_chk|__stack_chk_fail|__tls_get_addr)$')
# mkdir: nothing here calls it
# By the preload itself, or by the library through functions that the preload has itself.
PRELOAD = ['faccessat', 'mlock', 'prctl', 'read', 'recvmsg', 'sendmsg']


def read(*path):
    with open(os.path.join(*path), encoding='utf-8') as file:
        return re.sub(r'/\*.*?\*/', '', file.read(), flags=re.DOTALL)


def listed(root):
    array = re.search(r'made_calls\[\] = \{(.*?)\n\};', read(root, LIST), re.DOTALL).group(1)
    return set(re.findall(r'\b(?:ANY|WITH)(?:_TO_END)?\((\w+)', array)) | set(re.findall(r'SYS_(\w+),', array)) | (
        {'mmap'} if 'MMAP(' in array else set())


def faults(root, preload):
    known = listed(root)
    made = {'close', *PRELOAD}
    # The preload makes the VMM's calls, too, but not in this way.
    own = {'library': r'\bSYS_(\w+)', 'preload': r'\bsys_(?:raw|call)\(SYS_(\w+)'}
    for path in sorted(path for folder in own for path in glob.glob(os.path.join(root, folder, '*.[ch]'))):
        if os.path.basename(path) == os.path.basename(LIST):
            continue
        for name in sorted(set(re.findall(own[os.path.basename(os.path.dirname(path))], read(path)))):
            made.add(name)
            if name not in known:
                yield f'{os.path.relpath(path, root)} makes {name}(), which is not in {LIST}'
    for name in elf.symbols(preload, '--undefined-only'):
        made.update(LIBC.get(name, []))
        if name not in LIBC and not CALL_NOTHING.match(name):
            yield f'the preload imports {name}(): have this test know what it calls'
        for call in LIBC.get(name, []):
            if call not in known:
                yield f'{name}() makes {call}(), which is not in {LIST}'
    named = re.search(r'lets the library work allows:(.*?)\n\n', read(root, MANUAL), re.DOTALL)
    named = set(re.findall(r'\w+', named.group(1))) if named else set()
    for name in sorted(known):
        if name not in made:
            yield f'{name}() is in {LIST}, and nobody makes it'
        if name not in named:
            yield f'{name}() is in {LIST}, and not in {MANUAL}'
    if not known or 'userfaultfd' not in made:
        yield 'nothing is found: this test is broken'


def main():
    found = list(faults(*sys.argv[1:]))
    for fault in found:
        print(fault)
    print(f'{len(found)} faults')
    sys.exit(1 if found else 0)


main()
