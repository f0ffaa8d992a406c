# SPDX-License-Identifier: LGPL-2.1-or-later
"""The project's files, as the tests of this folder see them."""
import os
import subprocess
import sys

SKIPPED = {'.git', '.cache', '__pycache__'}


def files(root):
    """Paths, relative to root, of all files that belong to the project."""
    try:
        listed = subprocess.run(['git', '-C', root, 'ls-files', '-z', '-c', '-o', '--exclude-standard'],
                                check=True, capture_output=True, text=True).stdout
        found = [name for name in listed.split('\0') if name]
    except (OSError, subprocess.CalledProcessError):  # a tarball, or somebody else's clone
        found = []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if f not in SKIPPED and not f.startswith('build')]
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(name for name in found if os.path.isfile(os.path.join(root, name)))


def text(root, name):
    """Content of a text file; None if it is none."""
    with open(os.path.join(root, name), 'rb') as file:
        data = file.read()
    if b'\0' in data:
        return None
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        return None


def finish(faults, looked_at):
    """Prints the faults and ends the test."""
    for fault in faults:
        print(fault)
    if not looked_at:
        print('nothing was there to look at: the test is broken')
    print(f'{len(faults)} faults in {looked_at} files')
    sys.exit(1 if faults or not looked_at else 0)
