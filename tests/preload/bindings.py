#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What the preload offers, and that a VMM really takes it.

usage: bindings.py symbols PRELOAD           it offers just the interposed calls, without version, and needs only libc
       bindings.py program PRELOAD PROGRAM   each symbol that PROGRAM imports and the preload offers binds to the
                                             preload: the dynamic linker says so
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'layers'))
import elf  # noqa: E402

OFFERED = {
    '_Fork', '__open64_2', '__open_2', '__openat64_2', '__openat_2', '__pread64_chk', '__pread_chk', '__read_chk',
    '__recv_chk', '__recvfrom_chk', 'clone', 'close', 'close_range', 'closefrom', 'creat', 'creat64', 'dup2', 'dup3',
    'fcntl', 'fcntl64', 'fopen', 'fopen64', 'freopen', 'freopen64', 'io_submit', 'io_uring_queue_init_mem',
    'io_uring_queue_init_params', 'io_uring_register', 'io_uring_register_buffers', 'io_uring_register_buffers_tags',
    'io_uring_register_buffers_update_tag', 'io_uring_register_ring_fd', 'io_uring_setup', 'io_uring_submit',
    'io_uring_submit_and_get_events', 'io_uring_submit_and_wait', 'io_uring_submit_and_wait_timeout', 'ioctl',
    'madvise', 'mbind', 'mkostemp', 'mkostemp64', 'mkostemps', 'mkostemps64', 'mkstemp', 'mkstemp64', 'mkstemps',
    'mkstemps64', 'mlock', 'mlock2', 'mlockall', 'mmap', 'mmap64', 'mprotect', 'mremap', 'mseal', 'munlock',
    'munlockall', 'munmap', 'open', 'open64', 'open_by_handle_at', 'openat', 'openat64', 'pagefuse_try_calls',
    'pidfd_getfd', 'pkey_mprotect', 'posix_madvise', 'prctl', 'pread', 'pread64', 'preadv', 'preadv2', 'preadv64',
    'preadv64v2', 'process_madvise', 'pwrite', 'pwrite64', 'pwritev', 'pwritev2', 'pwritev64', 'pwritev64v2', 'read',
    'readv', 'recv', 'recvfrom', 'recvmmsg', 'recvmsg', 'send', 'sendmmsg', 'sendmsg', 'sendto', 'setsockopt',
    'syscall', 'tmpfile', 'tmpfile64', 'vmsplice', 'write', 'writev',
}
# What any VMM imports at the least: were these missing, the test would look at the wrong thing.
IMPORTED = {'madvise', 'munmap', 'ioctl'}


def check_symbols(preload):
    offered = elf.symbols(preload, '--defined-only')
    for name in sorted(OFFERED ^ set(offered)):
        yield f'{name} is {"not " if name in OFFERED else ""}offered, and should{"" if name in OFFERED else " not"} be'
    for name, version in offered.items():
        if version:
            yield f'{name} is in the version node {version}: versioned references bind past it'
    for name in elf.needed(preload):
        if not elf.LIBC.match(name):
            yield f'it needs {name}; inside a VMM it may need libc only'


def check_program(preload, program):
    path = shutil.which(program)
    if path is None:
        print(f'skipped: {program} is not installed')
        sys.exit(77)
    wanted = set(elf.symbols(path, '--undefined-only')) & OFFERED
    for name in sorted(IMPORTED - wanted):
        yield f'{program} does not import {name}: this test is broken'
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, 'preload.so')  # LD_PRELOAD cannot hold every path
        os.symlink(os.path.realpath(preload), link)
        environment = dict(os.environ, LD_PRELOAD=link, LD_BIND_NOW='1', LD_DEBUG='bindings',
                           ASAN_OPTIONS='verify_asan_link_order=0')
        said = subprocess.run([path, '--version'], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              check=True, text=True).stderr
    binding = re.compile(r'binding file (\S+) \[0\] to (\S+) \[0\]: \w+ symbol [`\'](\w+)\'')
    bound = {name: to for by, to, name in binding.findall(said) if os.path.basename(by) == os.path.basename(path)}
    for name in sorted(wanted):
        to = bound.get(name, 'nothing')
        print(f'{name}: {to}')
        if to != link:
            yield f'{program} binds {name} to {to}'


def main():
    checks = {'symbols': check_symbols, 'program': check_program}
    faults = list(checks[sys.argv[1]](*sys.argv[2:]))
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    sys.exit(1 if faults else 0)


main()
