#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A page of `pagefuse report` is XML and can be read by everybody: nothing runs and nothing is fetched, charts have titles
and descriptions, tables have captions and headers, and no text hides or turns what stands beside it. A page that is
to be like another one has the same elements: names did not become markup.

usage: report-page.py [--like OTHER-PAGE] PAGE...
"""
import sys
import unicodedata
import xml.etree.ElementTree

ELEMENTS = set('''html head meta link title style body header main footer section h1 h2 p div span bdi time strong
    code dl dt dd table caption thead tbody tr th td svg desc rect line polyline polygon text'''.split())
ATTRIBUTES = set('''lang charset http-equiv content name rel href class id datetime scope role viewBox width height x y
    x1 x2 y1 y2 rx points text-anchor fill-opacity'''.split())


def local(name):
    return name.rsplit('}', 1)[-1]


def children(element, name):
    return [child for child in element if local(child.tag) == name]


def check_attributes(element):
    for name, value in element.attrib.items():
        if name not in ATTRIBUTES:
            yield f'<{local(element.tag)} {name}="{value}">: no such attribute belongs here'
        if name == 'href' and value != 'data:,':
            yield f'href="{value}" leads out of the page'


def check_text(text):
    for character in text or '':
        if character != '\n' and unicodedata.category(character) in ('Cc', 'Cf', 'Cs', 'Co', 'Cn', 'Zl', 'Zp'):
            yield f'U+{ord(character):04X} in: {text!r}'


def check_chart(svg):
    told = [any(child.text for child in children(svg, name)) for name in ('title', 'desc')]
    if svg.get('role') != 'img' or not all(told):
        yield f'a chart ({svg.get("class")}) has no role, title or description'


def check_table(table):
    head, body = children(table, 'thead'), children(table, 'tbody')
    if len(children(table, 'caption')) != 1 or len(head) != 1 or len(body) != 1:
        yield 'a table without caption, head or body'
        return
    titles = list(head[0][0])
    if not titles or any(local(cell.tag) != 'th' or cell.get('scope') != 'col' for cell in titles):
        yield f'a title of a column of {children(table, "caption")[0].text} is none'
    for row in body[0]:
        if len(row) != len(titles):
            yield f'{len(row)} cells below {len(titles)} titles'
        if sum(cell.get('scope') == 'row' for cell in row) != 1:
            yield 'a row without one title'


def check(root):
    for element in root.iter():
        name = local(element.tag)
        if name not in ELEMENTS:
            yield f'<{name}> does not belong here'
        yield from check_attributes(element)
        yield from check_text(element.text if name != 'style' else '')
        yield from check_text(element.tail)
        if name == 'svg':
            yield from check_chart(element)
        elif name == 'table':
            yield from check_table(element)
        elif name == 'style' and any(word in element.text for word in ('url(', '@import', 'expression(')):
            yield 'the style fetches something'
    policy = [element.get('content') for element in root.iter()
              if element.get('http-equiv') == 'Content-Security-Policy']
    if len(policy) != 1 or not policy[0].startswith("default-src 'none';"):
        yield 'nothing tells the browser to run and fetch nothing'


def shape(root):
    """All but texts and figures."""
    return [(element.tag, sorted(element.attrib), element.get('class'), element.get('id')) for element in root.iter()]


def parse(path):
    try:
        return xml.etree.ElementTree.parse(path).getroot()
    except xml.etree.ElementTree.ParseError as error:
        sys.exit(f'{path}: {error}')


def main():
    paths, like = sys.argv[1:], None
    if paths[0] == '--like':
        like, paths = shape(parse(paths[1])), paths[2:]
    faults = []
    for path in paths:
        root = parse(path)
        faults += [f'{path}: {fault}' for fault in check(root)]
        if like and shape(root) != like:
            faults.append(f'{path}: it has other elements than the other page')
    print(*faults[:20], sep='\n')
    sys.exit(1 if faults else 0)


main()
