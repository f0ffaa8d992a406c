#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Pages of `pagefuse report` in Chromium, by hand, as that is some 300 MB: the text is there, nothing is complained about,
and nothing is asked of the network, also where names try to. A page without the protections is the control: what it
does has to be noticed.

usage: report-browser.py PAGEFUSE [PICTURE]     PICTURE: where to put that of docs/report.md
"""
import html
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
HANG_SECONDS = 300
PICTURE_SIZE = '1240,1720'


class Witness(http.server.BaseHTTPRequestHandler):
    """The browser's proxy: whatever it asks of the network, it asks this."""
    asked = []

    def do_GET(self):
        Witness.asked.append(self.path)
        self.send_response(404)
        self.end_headers()

    do_CONNECT = do_POST = do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


def browse(folder, port, page, *options):
    """@return what the page is in the end, what was complained about, and which addresses were asked for."""
    Witness.asked = []
    done = subprocess.run([
        'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
        '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run',
        '--disable-features=OptimizationHints,MediaRouter', '--metrics-recording-only',
        f'--user-data-dir={folder}/profile', f'--proxy-server=127.0.0.1:{port}', '--proxy-bypass-list=<-loopback>',
        '--enable-logging=stderr', '--virtual-time-budget=5000', *options, f'file://{page}'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=HANG_SECONDS)
    if done.returncode != 0:
        sys.exit(f'chromium ends with {done.returncode}: {done.stderr}')
    complaints = [line for line in done.stderr.splitlines() if ':CONSOLE' in line]
    # Its own ones, for updates and the like.
    asked = [address for address in Witness.asked if not re.search(r'(google|googleapis|gstatic|gvt1)\.com\b', address)]
    return done.stdout, complaints, asked


def make_page(pagefuse, document, path):
    subprocess.run([pagefuse, 'report', '--from', '-', '--output', path], input=document, check=True)


def documents():
    """Of each: what it is, the document, and words that its page has to show."""
    for count, word in (('0', 'No VM shares memory here yet'), ('8', 'libLLVM.so.19.1'), ('50', 'desktop47')):
        yield count + ' VMs', subprocess.check_output([os.path.join(HERE, 'report-document.sh'), count]), word


def evil_names(document):
    evil = '"><img src="http://witness.example/name"/><script>console.error("ran")</script>'
    return document.replace(b'db4', b'db4' + evil.replace('"', '\\"').encode()), evil


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if shutil.which('chromium') is None:
        print('needs chromium (Debian package chromium), which nothing else here does')
        sys.exit(77)
    pagefuse, faults = os.path.abspath(sys.argv[1]), []
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Witness)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, 'page.html')

        def look(what, expected, *options):
            text, complaints, asked = browse(folder, server.server_port, page, '--dump-dom', *options)
            if expected not in text:
                faults.append(f'{what}: no "{expected}"')
            faults.extend(f'{what}: {fault}' for fault in complaints + asked)
            return complaints, asked

        for what, document, word in documents():
            make_page(pagefuse, document, page)
            look(what, word)
            look(what + ', dark', word, '--blink-settings=preferredColorScheme=0')
        document = subprocess.check_output([os.path.join(HERE, 'report-document.sh')])
        evil, name = evil_names(document)
        make_page(pagefuse, evil, page)
        look('evil names', 'db4')

        # The control: without escaping, and without the policy, these are noticed.
        with open(page, encoding='utf-8') as file:
            text = file.read()
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', '', text)
        with open(page, 'w', encoding='utf-8') as file:
            file.write(text.replace(html.escape(name).replace('&#x27;', '&#39;'), name))
        _, complaints, asked = browse(folder, server.server_port, page, '--dump-dom')
        if not any('ran' in line for line in complaints) or not any('witness.example/name' in line for line in asked):
            faults.append(f'the control is not noticed: {complaints} {asked}')

        if len(sys.argv) > 2:
            make_page(pagefuse, document, page)
            browse(folder, server.server_port, page, f'--screenshot={os.path.abspath(sys.argv[2])}',
                   f'--window-size={PICTURE_SIZE}')
    print(*faults, sep='\n')
    sys.exit(1 if faults else 0)


main()
