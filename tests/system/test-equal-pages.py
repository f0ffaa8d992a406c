#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What benchmarks/equal-pages says of memory whose content is known, before it is shared, shared, and written again.

usage: test-equal-pages.py BUILD
"""
import contextlib
import os
import subprocess
import sys
import tempfile
import time

DEADLINE_SECONDS = 600  # which only a hang reaches
EQUAL, OWN, ZEROS, LATER = range(0, 1000), range(1000, 1500), range(1500, 2000), range(2000, 2100)
ALL = len(EQUAL) + len(OWN) + len(ZEROS) + len(LATER)
CHILD = '''
import ctypes, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
PAGE, PAGES, NOHUGEPAGE, MERGEABLE = 4096, 2100, 15, 12
size = PAGES * PAGE
# With a page that nobody may touch on both sides, as QEMU has it: no other mapping adjoins.
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
place = libc.mmap(None, ctypes.c_size_t(size + 2 * PAGE), 0, flags, -1, ctypes.c_long(0))
memory = ctypes.c_void_p(place + PAGE)
assert libc.mprotect(memory, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) == 0
assert libc.madvise(memory, ctypes.c_size_t(size), NOHUGEPAGE) == 0

def fill(first, end, seed):
    for page in range(first, end):
        content = b'%s %d ' % (seed.encode(), page) * 128 if seed else bytes(PAGE)
        ctypes.memmove(place + PAGE + page * PAGE, content[:PAGE], min(PAGE, len(content)))

fill(0, 1000, 'equal')
fill(1000, 1500, sys.argv[1])
fill(1500, 2000, '')
fill(2000, 2100, 'later')
with open(sys.argv[2]) as commands, open(sys.argv[3], 'w') as answers:
    for line in commands:
        if line == 'offer\\n':
            assert libc.madvise(memory, ctypes.c_size_t(size), MERGEABLE) == 0
        elif line != 'ready\\n':
            first, end, seed = line.split()
            fill(int(first), int(end), seed)
        print('done', file=answers, flush=True)
'''

build = os.path.abspath(sys.argv[1])
pagefuse = f'{build}/cli/pagefuse'
faults = 0


def expect(said, name, wanted):
    global faults
    if said[name] == wanted:
        print(f'ok: {name} is {wanted}')
        return
    faults += 1
    print(f'FAILED: {name} is {said[name]}, should be {wanted}')


def wait_for(what, happened):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            sys.exit(f'FAILED: {what}: not within {DEADLINE_SECONDS} s')
        time.sleep(0.05)


def equal_pages(command, children):
    said = subprocess.run([f'{build}/benchmarks/equal-pages', command, *(str(child.pid) for child in children)],
                          check=True, capture_output=True, text=True).stdout
    print(' '.join(said.split()))
    return {name: int(value) for name, value in (line.split() for line in said.splitlines())}


def say(folder, line):
    """A command of the shell that has both children do something, and waits for it."""
    return '; '.join(f"echo '{line}' >{folder}/{name}.in; read -r answer <{folder}/{name}.out" for name in 'ab')


def start(stack, command, **more):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **more)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def check_not_shared(folder, children):
    subprocess.run(say(folder, 'ready'), shell=True, check=True)
    said = equal_pages('true', children)
    expect(said, 'present', 2 * ALL)
    expect(said, 'frames', 2 * ALL)
    expect(said, 'contents', len(EQUAL) + 2 * len(OWN) + len(LATER))
    expect(said, 'left', len(EQUAL) + len(LATER) + 2 * len(ZEROS))
    expect(said, 'left_unseen', len(EQUAL) + len(LATER))
    expect(said, 'left_zeros', 2 * len(ZEROS))
    expect(said, 'shared', 0)
    expect(said, 'runs', 0)
    expect(said, 'stretches', 4)
    expect(said, 'runs_possible', 4)


def check_shared(folder, children):
    said = equal_pages(f"""{say(folder, 'offer')}
        until [ "$({pagefuse} status --json | jq -c '[.vms[].ram_bytes > 0]')" = '[true,true]' ]; do sleep 0.05; done
        {pagefuse} scan --wait >/dev/null""", children)
    expect(said, 'meanwhile', 2 * (len(EQUAL) + len(LATER)))
    expect(said, 'shared', 2 * (len(EQUAL) + len(LATER)))
    expect(said, 'common', len(EQUAL) + len(LATER))
    expect(said, 'present', 2 * (ALL - len(ZEROS)))
    expect(said, 'left', 0)


def check_written(folder, children):
    write = say(folder, f'{LATER[0]} {LATER[-1] + 1} written')
    said = equal_pages(write, children)
    expect(said, 'left_volatile', len(LATER))
    expect(said, 'left', len(LATER))
    said = equal_pages('true', children)
    expect(said, 'left_diverged', len(LATER))
    expect(said, 'left', len(LATER))
    expect(said, 'shared', 2 * len(EQUAL))


if os.geteuid() != 0:
    print('needs root')
    sys.exit(77)
with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='pagefuse-equal-pages.'))
    os.environ['PAGEFUSE_SOCKET'] = f'{folder}/socket'
    with open(f'{folder}/config', 'w') as config:
        config.write('[scan]\ninterval_seconds = 0\n')
    stack.callback(subprocess.run, f'umount -l {folder}/socket* 2>/dev/null', shell=True)
    daemon = start(stack, [f'{build}/daemon/pagefused', '--socket', f'{folder}/socket', '--config', f'{folder}/config'])
    stack.callback(daemon.wait)
    stack.callback(daemon.terminate)
    wait_for('the daemon', lambda: subprocess.run([pagefuse, 'status'], capture_output=True).returncode == 0)
    children = []
    for name in 'ab':
        for end in 'in', 'out':
            os.mkfifo(f'{folder}/{name}.{end}')
            stack.callback(os.close, os.open(f'{folder}/{name}.{end}', os.O_RDWR))
        children.append(start(stack, [pagefuse, 'run', '--name', name, '--', sys.executable, '-c', CHILD, name,
                                      f'{folder}/{name}.in', f'{folder}/{name}.out']))
    check_not_shared(folder, children)
    check_shared(folder, children)
    check_written(folder, children)
sys.exit(faults > 0)
