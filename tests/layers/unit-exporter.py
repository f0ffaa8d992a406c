#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The exporter's unit: it is nobody, has no right but to ask the daemon and to be asked, and gets no other.
systemd-analyze looks at it, too, where there is one.

usage: unit-exporter.py UNIT PAGEFUSE_EXPORTER
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

WANTED = ['DynamicUser=yes', 'SupplementaryGroups=pagefuse pagefuse-observers', 'CapabilityBoundingSet=',
          'NoNewPrivileges=yes', 'ProtectSystem=strict', 'PrivateDevices=yes', 'MemoryDenyWriteExecute=yes',
          'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6']


def analyze(text, program):
    """What systemd-analyze finds, with a program that is there."""
    analyzer = shutil.which('systemd-analyze')
    if analyzer is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'pagefuse-exporter.service')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(re.sub(r'^ExecStart="[^"]*"', f'ExecStart="{program}"', text, flags=re.MULTILINE))
        done = subprocess.run([analyzer, 'verify', '--man=no', path], capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if 'pagefuse-exporter.service' in line]


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        text = file.read()
    faults = [f'{line}: is missing' for line in WANTED if line not in text.splitlines()]
    faults += analyze(text, os.path.abspath(sys.argv[2]))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


main()
