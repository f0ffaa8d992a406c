#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""exporter-places.py EXPORTER [control]: connections that say nothing, or not enough, keep nobody from being answered.

The exporter is one that closes no connection for being idle, however slow this host is. Whoever asks is answered, and
those that have been silent for longest have gone for it, and no others. With "control" it is one in which nobody has to
go, and whoever asks then has to wait.
"""
import select
import socket
import subprocess
import sys
import time
import urllib.parse

PATIENCE = 300  # seconds until a wait has failed
MOMENT = 1  # of an exporter that is to say nothing
PLACES = 32
SILENT = 40  # more than it lets be, and than it accepts

where = None


def connect(text=b''):
    connection = socket.create_connection(where, timeout=PATIENCE)
    connection.sendall(text)
    return connection


def is_quiet(connection):
    return not select.select([connection], [], [], 0)[0]


def ask(connection):
    """On a connection that stays. Returns the status line."""
    connection.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    answer = b''
    while not answer.endswith(b'at /metrics\n'):
        part = connection.recv(4096)
        if not part:
            return b''
        answer += part
    return answer.split(b'\r\n')[0]


def check(what, truth):
    if not truth:
        sys.exit(f'FAILED: {what}')


def hold():
    """Some never say a word, and some stop in the middle of a request."""
    words = (b'', b'GET /metrics HTTP/1.1\r\n', b'G')
    return [connect(words[i % len(words)]) for i in range(SILENT)]


def check_yielding():
    silent = hold()
    asker = connect()
    check('an answer beside silent connections', ask(asker).endswith(b'200 OK'))
    gone = SILENT + 1 - PLACES
    for connection in silent[:gone]:
        check('the end of those that are silent for longest', connection.recv(1) == b'')
    for connection in silent[gone:]:
        check('that no others go', is_quiet(connection))
    # Whoever is heard of now and then outlasts those that are not.
    for _ in range(2 * PLACES):
        silent.append(connect())
        check('an answer on a connection that is used', ask(asker).endswith(b'200 OK'))
    for connection in silent:
        connection.close()
    asker.close()


def check_endless():
    """Requests that never end are as slow askers: newcomers find the door closed until those have had their time."""
    head = b'GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;'
    endless = [connect(head) for _ in range(SILENT)]
    last = time.monotonic() + PATIENCE
    answer = b''
    while not answer.endswith(b'200 OK'):
        check('an answer beside requests that never end', time.monotonic() < last)
        time.sleep(0.1)
        try:
            answer = ask(connect())
        except ConnectionError:
            answer = b''
    for connection in endless:
        connection.close()


def check_control():
    silent = hold()
    asker = connect(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    check('that it waits', not select.select([asker], [], [], MOMENT)[0])
    for connection in silent:
        connection.close()
    check('an answer once they have gone', asker.recv(4096).startswith(b'HTTP/1.1 200'))


def main():
    global where
    exporter = subprocess.Popen([sys.argv[1], '--listen', '127.0.0.1:0', '--socket', '/no/such/socket'],
                                stdout=subprocess.PIPE, text=True)
    try:
        url = urllib.parse.urlparse(exporter.stdout.readline())
        where = (url.hostname, url.port)
        if sys.argv[2:] == ['control']:
            check_control()
        else:
            check_yielding()
            check_endless()
        exporter.terminate()
        check('that it ends at SIGTERM', exporter.wait(PATIENCE) == 0)
    finally:
        exporter.kill()


main()
