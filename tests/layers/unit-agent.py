#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The agent's unit: it comes and goes with its port, and is confined as far as what it does allows. systemd-analyze looks
at it, too, where there is one.

usage: unit-agent.py UNIT PAGEFUSE_AGENT
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

DEVICE = r'dev-virtio\x2dports-org.pagefuse.agent.0.device'
WANTED = [f'BindsTo={DEVICE}', f'After={DEVICE}', f'WantedBy={DEVICE}', 'NoNewPrivileges=yes', 'ProtectSystem=strict',
          'PrivateNetwork=yes', 'MemoryDenyWriteExecute=yes',
          'SystemCallFilter=mincore mlock',  # which @system-service has not, or @privileged may take out
          'CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_FOWNER CAP_IPC_LOCK']


def analyze(text, program):
    """What systemd-analyze finds, with a program that is there."""
    analyzer = shutil.which('systemd-analyze')
    if analyzer is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'pagefuse-agent.service')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(re.sub(r'^ExecStart="[^"]*"', f'ExecStart="{program}"', text, flags=re.MULTILINE))
        done = subprocess.run([analyzer, 'verify', '--man=no', path], capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if 'pagefuse-agent.service' in line and DEVICE not in line]


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        text = file.read()
    faults = [f'{line}: is missing' for line in WANTED if line not in text.splitlines()]
    faults += analyze(text, os.path.abspath(sys.argv[2]))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


main()
