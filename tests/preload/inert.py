#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
With the preload, a process without a region has the threads and descriptors that it has without the preload, and talks
to nobody; one with a region connects to the daemon.

usage: inert.py PRELOAD PROGRAM
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

DEADLINE_SECONDS = 300
# A VMM as libvirt starts it to ask what it can do. When it has answered these two, all of it is set up.
PROBE = ['-S', '-machine', 'none', '-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none',
         '-qmp', 'stdio']
QUESTION = b'{"execute": "qmp_capabilities"}\n{"execute": "query-status"}\n'
REGION = '''
import mmap, sys
ram = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
ram.madvise(mmap.MADV_MERGEABLE)
print("ready", flush=True)
sys.stdin.read()
'''


class Process:
    """Runs until so many lines have come, and has its input open until the end."""

    def __init__(self, command, question=b'', lines=1, **environment):
        self.child = subprocess.Popen(command, env=dict(os.environ, **environment), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)
        self.child.stdin.write(question)
        self.child.stdin.flush()
        self.said = [self.child.stdout.readline() for _ in range(lines)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()

    def state(self):
        root = f'/proc/{self.child.pid}'
        descriptors = [os.readlink(f'{root}/fd/{fd}').split(':')[0] for fd in os.listdir(f'{root}/fd')]
        return {'threads': len(os.listdir(f'{root}/task')), 'descriptors': sorted(descriptors)}


def is_asked(listener, seconds):
    listener.settimeout(seconds)
    try:
        listener.accept()[0].close()
    except (TimeoutError, BlockingIOError):
        return False
    return True


def compare(command, question, lines, preload, link, listener, path):
    with Process(command, question, lines) as plain:
        before = plain.state()
        said = plain.said
    with Process(command, question, lines, LD_PRELOAD=link, PAGEFUSE_SOCKET=path) as preloaded:
        after = preloaded.state()
        with open(f'/proc/{preloaded.child.pid}/maps', encoding='utf-8') as maps:
            if preload not in maps.read():
                yield f'{command[0]} does not have the preload: this test is broken'
        if not all(said) or preloaded.said != said:
            yield f'{command[0]} says {preloaded.said!r} instead of {said!r}'
    if before != after:
        yield f'{command[0]} has {after} with the preload, {before} without'
    if is_asked(listener, 0):
        yield f'{command[0]} connects to the daemon'


def main():
    preload = os.path.realpath(sys.argv[1])
    vmm = shutil.which(sys.argv[2])
    programs = [([sys.executable, '-c', 'import sys; print("ready", flush=True); sys.stdin.read()'], b'', 1)]
    if vmm:
        programs.append(([vmm] + PROBE, QUESTION, 3))
    faults = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        path = os.path.join(folder, 'socket')
        listener.bind(path)
        listener.listen()
        link = os.path.join(folder, 'preload.so')  # LD_PRELOAD cannot hold every path
        os.symlink(preload, link)
        for command, question, lines in programs:
            faults += compare(command, question, lines, preload, link, listener, path)
        with Process([sys.executable, '-c', REGION], LD_PRELOAD=link, PAGEFUSE_SOCKET=path):
            if not is_asked(listener, DEADLINE_SECONDS):
                faults.append('a process with a region does not connect: this test is broken')
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults in {len(programs)} programs')
    sys.exit(1 if faults else 0)


main()
