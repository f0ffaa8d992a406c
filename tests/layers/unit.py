#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The service unit: nothing in it gives the service a mount namespace of its own, since the store's mounts have to outlive
it; and what the store's place and the start depend on is set. systemd-analyze looks at it, too, where there is one.

usage: unit.py UNIT PAGEFUSED
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

# Settings of systemd.exec(5) that imply a mount namespace, with any value but no.
NAMESPACES = re.compile(
    r'(PrivateMounts|PrivateTmp|PrivateDevices|PrivateIPC|PrivateNetwork|PrivateUsers|ProtectSystem|ProtectHome|'
    r'ProtectProc|ProtectKernelTunables|ProtectKernelModules|ProtectKernelLogs|ProtectControlGroups|ProtectHostname|'
    r'ProcSubset|RootDirectory|RootImage|MountImages|ExtensionImages|MountFlags|MountAPIVFS|DynamicUser|'
    r'TemporaryFileSystem|BindPaths|BindReadOnlyPaths|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|ExecPaths|'
    r'NoExecPaths|LogNamespace|LoadCredential|SetCredential)=(?!no$)')
WANTED = ['Type=notify', 'RuntimeDirectory=pagefuse', 'RuntimeDirectoryPreserve=yes', 'DeviceAllow=/dev/userfaultfd rw']


def analyze(text, program):
    """What systemd-analyze finds, with a program that is there."""
    analyzer = shutil.which('systemd-analyze')
    if analyzer is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'pagefused.service')
        link = os.path.join(folder, 'a b')  # the unit quotes what may have blanks
        os.symlink(program, link)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(re.sub(r'^ExecStart="[^"]*"', f'ExecStart="{link}"', text, flags=re.MULTILINE))
        done = subprocess.run([analyzer, 'verify', '--man=no', path], capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if 'pagefused.service' in line]


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        text = file.read()
    lines = [line for line in text.splitlines() if line and not line.startswith('#')]
    faults = [f'{line}: makes a mount namespace' for line in lines if NAMESPACES.match(line)]
    faults += [f'{line}: is missing' for line in WANTED if line not in lines]
    faults += analyze(text, os.path.abspath(sys.argv[2]))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


main()
