#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
./check over a meson and a ninja that only pretend: a runner that runs no test is a failure that shows the runner's
words; Ctrl-C ends all of it, whatever session it is in, and leaves nothing.

usage: test-check.py ROOT [inside]
"""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

DEADLINE_SECONDS = 600  # which only a hang reaches
MESON = '''#!/bin/sh
case $1 in
setup)
	[ "$2" != --reconfigure ] || shift
	mkdir -p "$2"
	: >"$2/build.ninja"
	;;
test)
	echo "words of the runner: it does not want to"
	exit 1
	;;
esac
'''
MESON_SLOW = MESON.replace('echo "words', "sleep 4\n\techo ' 1/1 a slow one   OK'\n\techo \"words")
NINJA_QUICK = '#!/bin/sh\nexit 0\n'
# One process of its own session, as meson's tests are.
NINJA_ENDLESS = '''#!/bin/sh
setsid sleep 1000 &
echo $! >"$0.pid"
echo '[1/9] pretending'
sleep 1000
'''
faults = []


def expect(condition, what):
    print(f'{"ok" if condition else "FAILED"}: {what}')
    if not condition:
        faults.append(what)


def make_tree(root, tree, ninja):
    shutil.copytree(os.path.join(root, 'tests', 'support'), os.path.join(tree, 'tests', 'support'))
    shutil.copy(os.path.join(root, 'check'), tree)
    os.makedirs(os.path.join(tree, 'bin'))
    os.makedirs(os.path.join(tree, 'tmp'))
    for name, text in (('meson', MESON), ('ninja', ninja)):
        path = os.path.join(tree, 'bin', name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        os.chmod(path, 0o755)
    return {**os.environ, 'PATH': os.path.join(tree, 'bin') + ':' + os.environ['PATH'],
            'TMPDIR': os.path.join(tree, 'tmp'), 'TERM': 'xterm'}


def check_no_test(root, tree):
    environment = make_tree(root, tree, NINJA_QUICK)
    done = subprocess.run([os.path.join(tree, 'check'), '--quick'], env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    lines = done.stdout.splitlines()
    print(done.stdout, done.stderr)
    expect(done.returncode == 1, f'no test: exit status 1, is {done.returncode}')
    expect('words of the runner: it does not want to' in lines, "the runner's words are shown")
    expect('no test was run' in done.stdout, 'it is said that no test was run')
    closing = re.fullmatch(r'(\d+) passed, (\d+) failed, (\d+) skipped', lines[-1] if lines else '')
    expect(closing and closing.group(2) == '1', 'the closing line counts one failure')


def check_silence(root, tree):
    """Where nothing is said for long, it is shown what runs; and what is said afterwards."""
    environment = make_tree(root, tree, NINJA_QUICK)
    with open(os.path.join(tree, 'bin', 'meson'), 'w', encoding='utf-8') as file:
        file.write(MESON_SLOW)
    done = subprocess.run([os.path.join(tree, 'check'), '--quick'], env={**environment, 'STILL_SECONDS': '1'},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_SECONDS,
                          check=False)
    print(done.stdout, done.stderr)
    expect(re.search(r'still running after \d+ s: sleep 4', done.stdout), 'what runs in silence is shown')
    expect('a slow one   OK' in done.stdout, 'and what it says then')


def read_until(terminal, text):
    """What the terminal shows until the text is seen or, without one, all is closed; None if neither happens."""
    shown, deadline = b'', time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            some = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            some = b''
        shown += some
        if (text and text in shown) or (not text and not some):
            return shown
        if not some:
            break
    return None


def wait_gone(pid):
    """A killed process is gone when its parent, whoever that is now, has seen it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            with open(f'/proc/{pid}/stat', encoding='ascii') as file:
                if file.read().rpartition(')')[2].split()[0] == 'Z':
                    return True
        except OSError:
            return True
    return False


def check_interrupt(root, tree):
    """As people do it: with a tee behind it, which the same Ctrl-C ends first."""
    environment = make_tree(root, tree, NINJA_ENDLESS)
    command = 'exec 3>&1; { "$0" --quick; echo "status $?" >&3; } | tee /dev/null'
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve('/bin/bash', ['bash', '-c', 'trap : INT; ' + command, os.path.join(tree, 'check')],
                  {**environment, 'PROGRESS_SECONDS': '0'})
    expect(read_until(terminal, b'[1/9] pretending') is not None, 'the progress of a build is shown')
    os.write(terminal, b'\x03')
    ended = read_until(terminal, None)
    expect(ended is not None, 'Ctrl-C ends it')
    if ended is None:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    expect(b'status 130' in (ended or b''), f'with exit status 130: {ended}')
    with open(os.path.join(tree, 'bin', 'ninja.pid'), encoding='ascii') as file:
        child = int(file.read())
    gone = ended is not None and wait_gone(child)
    expect(gone, 'nothing goes on, not even in a session of its own')
    if not gone:
        os.kill(child, 9)
    expect(os.listdir(os.path.join(tree, 'tmp')) == [], 'no temporary file stays')


def main():
    root = sys.argv[1]
    for test in check_no_test, check_silence, check_interrupt:
        with tempfile.TemporaryDirectory(prefix='pf', dir='/tmp') as tree:
            test(root, tree)
    sys.exit(1 if faults else 0)


if len(sys.argv) == 2:  # cgroups of what else is tested at the same time are not to be seen
    os.execvp('unshare', ['unshare', '--mount', 'sh', '-c', '! [ -d /sys/fs/cgroup ] || mount -t tmpfs none '
                          '/sys/fs/cgroup; exec "$0" "$@"', sys.executable, *sys.argv, 'inside'])
if subprocess.run([os.path.join(sys.argv[1], 'tests/support/install-packages.sh'), '--missing', 'build', 'run', 'test',
                   'lint'], check=False, capture_output=True).stdout:
    print('./check would install packages here, which is not this test\'s to do')
    sys.exit(77)
main()
