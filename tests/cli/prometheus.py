#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A real Prometheus scrapes pagefuse-exporter: all samples arrive, promtool finds nothing to blame in metrics and rules,
each query of the dashboard has an answer, and each alert fires for what it is about, and for nothing else.

usage: prometheus.py EXPORTER FAKE-DAEMON SOURCE    (skipped, with the reason, if there is no Prometheus to be had)
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

exporter, fake_daemon, source = sys.argv[1:]
programs = []
HANG_SECONDS = 300
RULES = os.path.join(source, 'packaging/prometheus/pagefuse.rules.yml')


def skip(reason):
    print(reason)
    sys.exit(77)


def download(folder, package):
    """@return what apt-get said if that fails, else None and the package is in @folder."""
    done = subprocess.run(['apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', package], cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stdout.strip().splitlines() or ['it does not say why'])[-1]


def find(folder):
    """The programs of Debian's packages, which are unpacked and not installed: that would start a service."""
    found = [shutil.which(name) for name in ('prometheus', 'promtool')]
    if all(found):
        return found
    cache = os.path.join(source, '.cache', 'prometheus')
    if not os.path.exists(os.path.join(cache, 'usr/bin/promtool')):
        said = download(folder, 'prometheus')
        if said is not None:
            skip(f'no Prometheus, and apt-get cannot download the package: {said}')
        download(folder, 'promtool') # a package of its own in some releases
        try:
            os.makedirs(os.path.dirname(cache), exist_ok=True)
            place = tempfile.mkdtemp(dir=os.path.dirname(cache))
        except OSError:
            place = cache = os.path.join(folder, 'unpacked')
        for name in os.listdir(folder):
            if name.endswith('.deb'):
                subprocess.run(['dpkg-deb', '-x', os.path.join(folder, name), place], check=True)
        if place != cache:
            shutil.rmtree(cache, ignore_errors=True)
            os.rename(place, cache)
    programs_found = [os.path.join(cache, 'usr/bin', name) for name in ('prometheus', 'promtool')]
    for program in programs_found:
        if not os.access(program, os.X_OK):
            skip(f'the package prometheus of this release has no {os.path.basename(program)}')
    return programs_found


def start(*command, **more):
    program = subprocess.Popen(command, **more)
    programs.append(program)
    return program


def run(what, *command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode != 0:
        sys.exit(f'{what}: {done.stdout}')
    return done.stdout


def wait_for(what, ready):
    end = time.monotonic() + HANG_SECONDS
    while time.monotonic() < end:
        result = ready()
        if result:
            return result
        time.sleep(0.1)
    sys.exit(f'{what}: not within {HANG_SECONDS} s')


def fetch(url, **arguments):
    if arguments:
        url += '?' + urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(url, timeout=HANG_SECONDS) as reply:
        return reply.read().decode()


def is_ready(server):
    try:
        return 'Ready' in fetch(server + '/-/ready')
    except urllib.error.HTTPError: # 503: it still reads its data
        return False


def query(server, expression):
    return json.loads(fetch(server + '/api/v1/query', query=expression))['data']['result']


def planted(status):
    """The same host, with everything wrong that an alert is about; rates need no second look at it."""
    status = json.loads(json.dumps(status))
    status['host'].update(uncovered_bytes=1 << 30, store_full=True)
    status['memory']['state'] = 'hard'
    status['vms'][0].update(mappings=65000, refused=[])
    status['vms'][1].update(mappings=1000)
    return status


# What there is on the host of planted().
PLANTED = {
    'PagefuseNotCovered': [{}],
    'PagefuseMemoryShort': [{'state': 'hard'}],
    'PagefuseStoreFull': [{}],
    'PagefuseVmRefused': [{'vm': 'db2', 'domain': 'team', 'reason': 'locked'}],
    'PagefuseMappingsNearLimit': [{'vm': 'web1', 'domain': 'uid-0'}],
    'PagefuseDown': [],
}


def series_of(line):
    """A sample as promtool wants it: the same value each minute for two hours and a half."""
    name, _, value = line.rpartition(' ')
    name = name.replace('{', '{instance="h",', 1) if '{' in name else name + '{instance="h"}'
    return {'series': name, 'values': f'{value}x150'}


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(folder)
        finally:
            for program in programs:
                program.kill()
                program.wait()


def samples(folder, status, name):
    """What the exporter says of @status."""
    script, place = os.path.join(folder, name + '.json'), os.path.join(folder, name)
    with open(script, 'w') as file:
        json.dump({'status': [status]}, file)
    daemon = start(fake_daemon, '--socket', place, env=dict(os.environ, FAKE_SCRIPT=script), stdout=subprocess.PIPE,
                   text=True)
    if daemon.stdout.readline() != 'ready\n':
        sys.exit('the fake daemon does not start')
    return place, run('the exporter', exporter, '--socket', place, '--textfile', '-')


def read_rules(path, bare):
    """
    The severity of each alert. @bare: where the rules go to without what they say to people, as promtool would have
    each word of that repeated here.
    """
    severities, name, hidden = {}, None, None
    with open(path) as rules, open(bare, 'w') as out:
        for line in rules:
            depth = len(line) - len(line.lstrip())
            if hidden is not None and depth > hidden:
                continue
            hidden = depth if line.strip() == 'annotations:' else None
            if hidden is not None:
                continue
            out.write(line)
            key, _, value = line.strip().lstrip('- ').partition(': ')
            if key == 'alert':
                name = value
            elif key == 'severity':
                severities[name] = value
    return severities


def check_rules(promtool, folder, text, expected):
    """Which alerts there are after two hours of the samples in @text: name -> labels of each."""
    bare, plan = os.path.join(folder, 'bare.yml'), os.path.join(folder, 'plan.yml')
    severities = read_rules(RULES, bare)
    if set(severities) != set(PLANTED):
        sys.exit(f'{RULES} has the alerts {sorted(severities)}, this test knows {sorted(PLANTED)}')
    with open(plan, 'w') as file:
        json.dump({'rule_files': [bare], 'evaluation_interval': '1m', 'tests': [{
            'interval': '1m',
            'input_series': [series_of(line) for line in text.splitlines() if not line.startswith('#')],
            'alert_rule_test': [{
                'eval_time': '2h',
                'alertname': name,
                'exp_alerts': [{'exp_labels': dict(labels, instance='h', severity=severity)}
                               for labels in expected.get(name, [])],
            } for name, severity in severities.items()],
        }]}, file)
    run('alerts', promtool, 'test', 'rules', plan)


def check(folder):
    prometheus, promtool = find(folder)
    with open(os.path.join(source, 'tests/cli/status.json')) as file:
        status = json.load(file)
    good = json.loads(json.dumps(status))
    good['vms'][1].update(refused=[], mappings=1000)

    place, text = samples(folder, status, 'usual')
    if run('metrics', promtool, 'check', 'metrics', input=text):
        sys.exit('promtool has something to say of the metrics')
    run('rules', promtool, 'check', 'rules', RULES)
    check_rules(promtool, folder, samples(folder, good, 'good')[1], {})
    check_rules(promtool, folder, samples(folder, planted(status), 'planted')[1], PLANTED)
    check_rules(promtool, folder, 'pagefuse_up 0\n', {'PagefuseDown': [{}]})

    served = start(exporter, '--socket', place, '--listen', '127.0.0.1:0', stdout=subprocess.PIPE, text=True)
    target = urllib.parse.urlparse(served.stdout.readline().strip()).netloc
    with open(os.path.join(folder, 'prometheus.yml'), 'w') as file:
        json.dump({'global': {'scrape_interval': '1s'}, 'rule_files': [RULES],
                   'scrape_configs': [{'job_name': 'pagefuse', 'static_configs': [{'targets': [target]}]}]}, file)
    log = os.path.join(folder, 'log')
    with open(log, 'w') as file:
        server = start(prometheus, '--config.file', os.path.join(folder, 'prometheus.yml'), '--storage.tsdb.path',
                       os.path.join(folder, 'data'), '--web.listen-address', '127.0.0.1:0', stdout=file, stderr=file)

    def listening():
        if server.poll() is not None:
            sys.exit('Prometheus has ended: ' + open(log).read()[-2000:])
        inodes = set()
        for fd in os.scandir(f'/proc/{server.pid}/fd'):
            with contextlib.suppress(FileNotFoundError):  # closed since
                inodes.add(os.readlink(fd.path))
        for table in ('tcp', 'tcp6'):
            for line in open(f'/proc/net/{table}').readlines()[1:]:
                fields = line.split()
                if fields[3] == '0A' and f'socket:[{fields[9]}]' in inodes:
                    return int(fields[1].split(':')[1], 16)
        return None

    web = f'http://127.0.0.1:{wait_for("Prometheus listens", listening)}'
    wait_for('Prometheus is ready', lambda: is_ready(web))
    # Two scrapes: rates want a difference.
    wait_for('Prometheus scrapes', lambda: query(web, 'count_over_time(pagefuse_up[1h]) >= 2'))

    missing = [line for line in text.splitlines() if not line.startswith('#')
               and not query(web, line.rpartition(' ')[0])]
    if missing:
        sys.exit(f'did not arrive: {missing}')
    with open(os.path.join(source, 'packaging/prometheus/pagefuse-dashboard.json')) as file:
        dashboard = json.load(file)
    expressions = [target['expr'] for panel in dashboard['panels'] for target in panel['targets']]
    for expression in expressions:
        asked = expression.replace('$instance', '.*').replace('$vm', '.*')
        if '$' in asked:
            sys.exit(f'a variable that this test does not know: {expression}')
        if not query(web, asked):
            sys.exit(f'the dashboard asks for what is not there: {asked}')
    variables = [v for v in dashboard['templating']['list'] if v['type'] == 'query']
    for variable in variables:
        metric, label = re.fullmatch(r'label_values\((.*), (\w+)\)', variable['query']).groups()
        if not all(label in r['metric'] for r in query(web, metric.replace('$instance', '.*')) or [{'metric': {}}]):
            sys.exit(f'the dashboard cannot tell its variable {variable["name"]}')
    if query(web, 'pagefuse_no_such_metric'):
        sys.exit('this test would find anything')
    print(f'{len(text.splitlines())} lines, {len(expressions)} queries of the dashboard, {len(PLANTED)} alerts')


main()
