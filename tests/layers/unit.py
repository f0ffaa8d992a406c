#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The service units: what each depends on is set, and nothing in the daemon's gives it a mount namespace of its own, since
the store's mounts have to outlive it. systemd-analyze looks at them, too, where there is one.

usage: unit.py pagefused|agent|exporter UNIT PROGRAM
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
PORT = r'dev-virtio\x2dports-org.pagefuse.agent.0.device'
WANTED = {
    'pagefused': ['Type=notify', 'RuntimeDirectory=pagefuse', 'RuntimeDirectoryPreserve=yes',
                  'DeviceAllow=/dev/userfaultfd rw'],
    # It comes and goes with its port.
    'agent': [f'BindsTo={PORT}', f'After={PORT}', f'WantedBy={PORT}', 'NoNewPrivileges=yes', 'ProtectSystem=strict',
              'PrivateNetwork=yes', 'MemoryDenyWriteExecute=yes',
              'SystemCallFilter=mincore mlock',  # which @system-service has not, or @privileged may take out
              'CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_FOWNER CAP_IPC_LOCK'],
    # It is nobody, has no right but to ask the daemon and to be asked, and gets no other.
    'exporter': ['DynamicUser=yes', 'SupplementaryGroups=pagefuse pagefuse-observers', 'CapabilityBoundingSet=',
                 'NoNewPrivileges=yes', 'ProtectSystem=strict', 'PrivateDevices=yes', 'MemoryDenyWriteExecute=yes',
                 'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6'],
}


def analyze(text, program):
    """What systemd-analyze finds, with a program that is there, in a place with a blank: units quote it."""
    analyzer = shutil.which('systemd-analyze')
    if analyzer is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'pagefuse-test.service')
        link = os.path.join(folder, 'a b')
        os.symlink(program, link)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(re.sub(r'^ExecStart="[^"]*"', f'ExecStart="{link}"', text, flags=re.MULTILINE))
        done = subprocess.run([analyzer, 'verify', '--man=no', path], capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if 'pagefuse-test.service' in line and PORT not in line]


def main():
    which, unit, program = sys.argv[1:]
    with open(unit, encoding='utf-8') as file:
        text = file.read()
    lines = [line for line in text.splitlines() if line and not line.startswith('#')]
    faults = [f'{line}: is missing' for line in WANTED[which] if line not in lines]
    if which == 'pagefused':
        faults += [f'{line}: makes a mount namespace' for line in lines if NAMESPACES.match(line)]
    faults += analyze(text, os.path.abspath(program))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


main()
