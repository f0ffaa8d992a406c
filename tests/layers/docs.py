#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The documents agree with each other and with what they describe: links lead somewhere, every option that a program names
in its help is in its man page and the other way round, every function of the library has a manual entry, and every
metric and setting is explained in the words of its table.

usage: docs.py ROOT [PAGEFUSE PAGEFUSED AGENT EXPORTER]     the programs, to ask for their help
"""
import os
import re
import subprocess
import sys

import tree

LINK = re.compile(r'\]\(([^)#\s]+)(?:#[^)]*)?\)')
OPTION = re.compile(r'(?<![\w-])--[a-z][a-z-]+')


def check_links(root, names):
    for name in names:
        for link in LINK.findall(tree.text(root, name) or ''):
            path = os.path.normpath(os.path.join(os.path.dirname(name), link))
            if '://' not in link and not os.path.exists(os.path.join(root, path)):
                yield f'{name}: the link to {link} leads nowhere'


def check_design(root, names):
    overview = tree.text(root, 'docs/design/README.md') or ''
    for name in names:
        if os.path.dirname(name) != 'docs/design' or os.path.basename(name) == 'README.md':
            continue
        if os.path.basename(name) not in overview:
            yield f'{name}: docs/design/README.md does not lead to it'


def check_version(root):
    version = re.search(r"version: '([\d.]+)'", tree.text(root, 'meson.build')).group(1)
    newest = re.search(r'^## ([\d.]+)', tree.text(root, 'CHANGELOG.md'), re.MULTILINE).group(1)
    if version != newest:
        yield f'CHANGELOG.md begins with {newest}, meson.build says {version}'


def man_pages(root, pattern):
    """Text of all man pages whose names match."""
    names = [name for name in tree.files(root) if re.fullmatch(r'docs/man/' + pattern, name)]
    return '\n'.join((tree.text(root, name) or '').replace('\\', '') for name in names)


def check_functions(root):
    pages = man_pages(root, r'.*\.3\.scd')
    for function in re.findall(r'^\s+(pagefuse_\w+);', tree.text(root, 'library/libpagefuse.map'), re.MULTILINE):
        if function not in pages:
            yield f'{function}() is in no man page of section 3'


METRIC = re.compile(r'= (DAEMON|HOST|VM)(?:_SO_FAR)?\(("[^;]*?")\),$', re.MULTILINE)
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def check_metrics(root):
    """pagefuse(1) has every metric with the help text of the table, and no other, and the titles of columns."""
    page = man_pages(root, r'pagefuse\.1\.scd')
    sections = {scope: (page.split(f'\n## {scope}\n') + [''])[1].split('\n#')[0] for scope in ('DAEMON', 'HOST', 'VM')}
    described = {(scope, name) for scope, text in sections.items() for name in re.findall(r'^_(\w+)_$', text, re.M)}
    found = METRIC.findall(tree.text(root, 'protocol/metrics.c') or '')
    for scope, arguments in found:
        head, text = re.match(r'(.*?),\s*((?:"[^"]*"\s*)+)$', arguments, re.DOTALL).groups()
        name, *shown = STRING.findall(head)
        described.discard((scope, name))
        if f'_{name}_ {"".join(STRING.findall(text))}' not in ' '.join(sections[scope].split()):
            yield f'pagefuse(1) does not say of {name} under {scope} what protocol/metrics.c does'
        if shown and shown[0].isupper() and f'_{shown[0]}_' not in page:
            yield f'pagefuse(1) does not explain the column {shown[0]}'
    for scope, name in sorted(described):
        yield f'pagefuse(1) has {name} under {scope}, which is no metric'
    if not found:
        yield 'protocol/metrics.c has no metrics: this test is broken'


SERIES = re.compile(r'= OF_(HOST|VM)\(("[^;]*?)\),$', re.MULTILINE)


def check_series(root):
    """pagefuse-metrics(1) has every metric by VirtualBox's name, with what it is and why it lacks a value."""
    page = man_pages(root, r'pagefuse-metrics\.1\.scd')
    sections = {scope: (page.split(f'\n## {scope}\n') + [''])[1].split('\n#')[0] for scope in ('HOST', 'VM')}
    described = {(scope, name) for scope, text in sections.items()
                 for name in re.findall(r'^_([A-Z]\S+)_$', text, re.M)}
    found = SERIES.findall(tree.text(root, 'protocol/metrics.c') or '')
    for scope, arguments in found:
        name, text, *lacks = STRING.findall(arguments)
        described.discard((scope, name))
        wanted = f'_{name}_ {text}' + (f' Not available: {lacks[0]}.' if lacks else '')
        if wanted not in ' '.join(sections[scope].split()):
            yield f'pagefuse-metrics(1) does not say of {name} under {scope} what protocol/metrics.c does'
    for scope, name in sorted(described):
        yield f'pagefuse-metrics(1) has {name} under {scope}, which is no metric'
    if not found:
        yield 'protocol/metrics.c has no series: this test is broken'


def help_of(*command):
    shown = subprocess.run([*command, '--help'], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return shown.stdout


def check_options(root, what, helps, all_helps, pattern):
    offered = set(OPTION.findall(helps))
    described = set(OPTION.findall(man_pages(root, pattern)))
    for option in sorted(offered - described):
        yield f'{what} offers {option}, its man page does not describe it'
    # A page may speak of the other program's options.
    for option in sorted(described - set(OPTION.findall(all_helps))):
        yield f'the man page of {what} describes {option}, which no help offers'


def check_settings(root, helps, name_of_page, first_section=''):
    """The page of section 5 has the settings of a program's help: under their sections, with default, text, range."""
    page = '\n' + man_pages(root, re.escape(name_of_page) + r'\.5\.scd')
    settings = re.findall(r'^  (?:\[(\w+)\]|(\w+) = (\S.*)\n {6}(.*)\n {6}(.*))$', helps, re.MULTILINE)
    described = set(re.findall(r'^\*(\w+)\* = ', page, re.MULTILINE))
    section = first_section
    for next_section, name, preset, text, wanted in settings:
        section = f'[{next_section}]' if next_section else section
        if next_section:
            continue
        described.discard(name)
        there = (page.split(f'\n# {section}\n') + [''])[1].split('\n#')[0]
        there = ' '.join((there.split(f'\n*{name}* = {preset}\n') + [''])[1].split('\n*')[0].replace('*', '').split())
        if text not in there or wanted not in there:
            yield f'{name_of_page}(5) does not say of {name} = {preset} in {section}: {text} {wanted}'
    for name in sorted(described):
        yield f'{name_of_page}(5) has {name}, which is no setting'
    if not settings:
        yield f'no help shows the settings of {name_of_page}(5): this test is broken'


def check_programs(root, pagefuse, pagefused, agent, exporter):
    helps, daemon_help, agent_help = help_of(pagefuse), help_of(pagefused), help_of(agent)
    exporter_help = help_of(exporter)
    yield from check_options(root, 'pagefuse-exporter', exporter_help, exporter_help, r'pagefuse-exporter\.8\.scd')
    yield from check_settings(root, daemon_help, 'pagefused.conf')
    yield from check_settings(root, agent_help, 'agent.conf', 'SETTINGS')
    yield from check_options(root, 'pagefuse-agent', agent_help, agent_help, r'pagefuse-agent\.8\.scd')
    commands = re.findall(r'^  ([a-z]+)  ', helps, re.MULTILINE)
    pages = man_pages(root, r'pagefuse(-\w+)?\.1\.scd')
    if not commands or not pages:
        yield 'no commands or no man page: this test is broken'
    for command in commands:
        if not re.search(rf'\b{command}\b', pages):
            yield f'pagefuse {command} is in no man page'
        if command != 'help':
            helps += help_of(pagefuse, command)
    yield from check_options(root, 'pagefuse', helps, helps + daemon_help, r'pagefuse(-\w+)?\.1\.scd')
    yield from check_options(root, 'pagefused', daemon_help, helps + daemon_help, r'pagefused\.8\.scd')


def main():
    root = sys.argv[1]
    names = [name for name in tree.files(root) if name.endswith('.md')]
    faults = [*check_links(root, names), *check_design(root, names), *check_version(root), *check_functions(root),
              *check_metrics(root), *check_series(root)]
    if len(sys.argv) > 2:
        faults += check_programs(root, *sys.argv[2:])
    tree.finish(faults, len(names))


main()
