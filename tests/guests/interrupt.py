#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Whoever interrupts ./demo, a test with guests, or the benchmark, at whatever moment, finds nothing left of it, and has
the prompt back: no process, no mount, no folder, no setting. Ctrl-C is typed on a terminal, as it reaches everything
that runs there; and the scripts are killed, as meson does it.

usage: interrupt.py BUILD WHAT [all|SEED]    demo, tests or benchmark. Of the moments that come late, each of which
                                             costs a run, one is tried, chosen by the seed; or all of them
       interrupt.py BUILD without-guard      a control: nobody cleans up after a script that was killed
       interrupt.py BUILD exit-in-trap       a control: the scripts' traps exit
"""
import os
import pathlib
import pty
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 600  # for the next output; and for the end, where the guard may have to wait
MARK = 'PAGEFUSE_INTERRUPT_TEST'
SETTINGS = ['/sys/kernel/mm/ksm/run', '/sys/kernel/mm/ksm/pages_to_scan', '/sys/kernel/mm/ksm/sleep_millisecs',
            '/proc/sys/vm/max_map_count']

BOOTING = r'booting(.*\n)*.*web1, after \d+ s: \S'  # it has printed something
CTRL_C, TERM, KILL = 'Ctrl-C', 'SIGTERM', 'SIGKILL to the group'
STATUS = {CTRL_C: 130, TERM: 143, KILL: -signal.SIGKILL}

# How the scripts ended before there was interrupt.sh.
EXIT_IN_TRAP = '''
interrupt_open() {
	# As the function of interrupt.sh would give the status.
	trap 'interrupted_function $?; exit 1' EXIT
	interrupted_function=$1
	eval "interrupted_function() { $1 \\"\\$@\\"; }"
	trap 'exit 1' INT USR1 TERM HUP
	INTERRUPTED=
}
readonly -f interrupt_open
'''
# Starts the guard, too, but that one is gone at once.
NO_GUARD = '#!/bin/sh\ncase $* in *guard.sh*) exec cat ;; esac\nexec {setsid} "$@"\n'
# What is never done being downloaded.
APT = '#!/bin/sh\ncase $* in *download*) exec sleep 100000 ;; esac\nexec {apt-get} "$@"\n'


def damage(text):
    print(f'damage: {text}', file=sys.stderr)
    sys.exit(1)


def fail(text):
    print(f'failed: {text}', file=sys.stderr)
    sys.exit(1)


def settings():
    def read(path):
        try:
            return pathlib.Path(path).read_text()
        except OSError:
            return None
    return {path: read(path) for path in SETTINGS}


def groups_and_devices():
    return {str(path) for pattern in ('fs/cgroup/**/*pagefuse-benchmark*', 'block/zram*')
            for path in pathlib.Path('/sys').glob(pattern)}


class Case:
    """A script in a terminal of its own, and a temporary folder of its own, which tells what is its."""

    def __init__(self, command, path=None, environment=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='interrupt.'))
        self.temporary = self.folder / 'tmp'
        self.temporary.mkdir()
        self.programs = self.folder / 'bin'
        self.programs.mkdir()
        for name, text in (path or {}).items():
            program = self.programs / name
            program.write_text(text.replace('{' + name + '}', shutil.which(name)))
            program.chmod(0o755)
        self.environment = {**os.environ, MARK: str(self.folder), 'TMPDIR': str(self.temporary), 'TERM': 'xterm',
                            'PATH': f'{self.programs}:{os.environ["PATH"]}', **(environment or {})}
        self.command = [word.replace('{folder}', str(self.folder)) for word in command]
        self.environment = {key: value.replace('{folder}', str(self.folder))
                            for key, value in self.environment.items()}
        self.output = ''
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvpe(self.command[0], self.command, self.environment)

    def read(self):
        """Adds to the output; False at its end."""
        if not select.select([self.terminal], [], [], DEADLINE_SECONDS)[0]:
            fail(f'{self.command} says nothing more:\n{self.output[-2000:]}')
        try:
            piece = os.read(self.terminal, 65536)
        except OSError:  # nobody has the terminal open any more
            return False
        self.output += piece.decode(errors='replace')
        return bool(piece)

    def wait_for(self, moment):
        while not re.search(moment, self.output):
            if not self.read():
                fail(f'{self.command} ended before "{moment}":\n{self.output[-2000:]}')

    def interrupt(self, how):
        if how == CTRL_C:
            os.write(self.terminal, b'\x03')
        elif how == TERM:
            os.kill(self.pid, signal.SIGTERM)
        else:
            os.killpg(self.pid, signal.SIGKILL)

    def processes(self):
        """All that inherited the environment."""
        mark = f'{MARK}={self.folder}\0'.encode()
        for entry in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                if mark in (entry / 'environ').read_bytes():
                    yield int(entry.name), (entry / 'cmdline').read_bytes().replace(b'\0', b' ').decode()[:200]
            except OSError:
                continue

    def left(self):
        yield from (f'process {pid}: {words}' for pid, words in self.processes())
        for kind in ('mounts', 'swaps'):
            with open(f'/proc/{kind}', encoding='utf-8') as lines:
                yield from (f'{kind}: {line}' for line in lines if str(self.folder) in line)
        yield from (f'file {path}' for path in self.temporary.iterdir())

    def end(self):
        """Waits for the script's end. @return its status"""
        while self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def clean(self):
        for pid, _ in list(self.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        # The latest mount first.
        with open('/proc/mounts', encoding='utf-8') as mounts:
            paths = [line.split()[1] for line in mounts if str(self.folder) in line]
        for path in reversed(paths):
            subprocess.run(['umount', '-l', path], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def look_for_left_overs(case, how, title):
    """After SIGKILL the guard needs a moment; else the script itself must have waited for all."""
    last = time.monotonic() + (20 if how == KILL else 0)
    while True:
        left = list(case.left())
        if not left or time.monotonic() > last:
            break
        select.select([], [], [], 0.1)
    if left:
        damage(f'{title}: it left {left}\n{case.output[-1500:]}')


def check(case, moment, how):
    title = f'{case.command[0]} at "{moment}" by {how}'
    before = settings(), groups_and_devices()
    try:
        case.wait_for(moment)
        case.interrupt(how)
        since = time.monotonic()
        status = case.end()
        seconds = time.monotonic() - since
        look_for_left_overs(case, how, title)
        if status != STATUS[how]:
            damage(f'{title}: status {status}\n{case.output[-1500:]}')
        after = settings(), groups_and_devices()
        if after != before:
            damage(f'{title}: settings are {after}, were {before}')
        print(f'{title}: status {status} after {seconds:.1f} s, nothing left', flush=True)
    finally:
        case.clean()


def demo(build, moment, how, **more):
    check(Case([str(ROOT / 'demo'), '--build', build], **more), moment, how)


def chosen(moments):
    """See usage."""
    wanted = sys.argv[3] if len(sys.argv) > 3 else str(random.SystemRandom().randrange(1 << 32))
    if wanted == 'all':
        return moments
    print(f'seed {wanted}')
    return [random.Random(wanted).choice(moments)]


def check_demo(build):
    demo(build, 'packages', CTRL_C)
    demo('{folder}/build', r'\[\d+/\d+\]', CTRL_C)
    demo(build, 'fetching', CTRL_C, path={'apt-get': APT}, environment={'PAGEFUSE_GUESTS': '{folder}/guests'})
    demo(build, 'fetching', TERM, path={'apt-get': APT}, environment={'PAGEFUSE_GUESTS': '{folder}/guests'})
    demo(build, 'starting pagefused', CTRL_C)
    late = [(BOOTING, CTRL_C), ('takes sums', TERM), ('takes sums', KILL), ('one pass after', CTRL_C),
            (r'the host uses [1-9]\d* MiB less', CTRL_C), ('checks its memory', CTRL_C), ('powering off', CTRL_C)]
    for moment, how in chosen(late):
        demo(build, moment, how)


def check_tests(build):
    guests, limit = str(ROOT / 'tests/guests/test-guests.sh'), str(ROOT / 'tests/guests/test-limit.sh')
    cases = [([guests, build, 'share'], 'guests run with', CTRL_C),
             ([guests, build, 'share'], 'pages that need no memory', TERM),
             ([guests, build, 'direct'], 'round 1', CTRL_C),
             ([guests, build, 'direct'], 'round 1', KILL),
             ([limit, build], 'the guest runs with', CTRL_C)]
    for command, moment, how in chosen(cases):
        check(Case(command), moment, how)


def check_benchmark(build):
    cases = [('control', 'control', CTRL_C), ('pagefuse', 'the guests churn', CTRL_C),
             ('ksm-20000-10', 'the guests churn', CTRL_C), ('ksm-20000-10', 'the guests churn', KILL),
             ('writer', 'writer, alone', TERM), ('writer', 'writer, (quota|alone)', CTRL_C)]
    for part, moment, how in chosen(cases):
        command = [str(ROOT / 'benchmarks/run'), '--build', build, '--output', '{folder}/out', part]
        check(Case(command), moment, how)


def main():
    if os.geteuid() != 0:
        print('needs root')
        sys.exit(77)
    if not shutil.which('qemu-system-x86_64'):
        print('needs qemu-system-x86_64')
        sys.exit(77)
    # Not ignored as by what a shell starts in the background, from which the scripts would have it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    build, what = os.path.abspath(sys.argv[1]), sys.argv[2]
    if what == 'without-guard':
        demo(build, 'takes sums', KILL, path={'setsid': NO_GUARD})
    elif what == 'exit-in-trap':
        with tempfile.NamedTemporaryFile('w') as file:
            file.write(EXIT_IN_TRAP)
            file.flush()
            demo(build, BOOTING, CTRL_C, environment={'BASH_ENV': file.name})
    else:
        {'demo': check_demo, 'tests': check_tests, 'benchmark': check_benchmark}[what](build)


main()
