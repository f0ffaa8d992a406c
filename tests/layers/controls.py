#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The positive control of includes.py, style.py and docs.py: small trees that break one rule each, which they must refuse,
and one that breaks none, which they must accept.

usage: controls.py
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LICENCE = '/* SPDX-License-Identifier: LGPL-2.1-or-later */\n'
GOOD = {
    'common/page.h': LICENCE,
    'engine/table.h': LICENCE,
    'engine/table.c': LICENCE + '#include <errno.h>\n#include "common/page.h"\n#include "engine/table.h"\n',
    'engine/engine.h': LICENCE,
    'engine/engine.c': LICENCE + '#include "engine/engine.h"\n#include "engine/match.h"\n',
    'engine/match.h': LICENCE + '#include "engine/slots.h"\n',
    'engine/slots.h': LICENCE + '#include "engine/engine.h"\n',
    'daemon/store.h': LICENCE,
    'daemon/store.c': LICENCE + '#include "daemon/store.h"\n#include "daemon/store-internal.h"\n',
    'daemon/store-internal.h': LICENCE + '#include "daemon/store.h"\n',
    'daemon/vm.h': LICENCE + '#include "daemon/store.h"\n',
    'daemon/vm.c': LICENCE + '#include "daemon/vm.h"\n',
    'daemon/session.h': LICENCE,
    'daemon/session.c': LICENCE + '#include "daemon/session.h"\n#include "daemon/vm.h"\n',
    'library/hold.c': LICENCE + '#include "include/pagefuse.h"\n#include "hold.h"\n',
    'library/hold.h': LICENCE,
    'include/pagefuse.h': LICENCE,
    'library/libpagefuse.map': LICENCE + 'PAGEFUSE {\nglobal:\n\tpagefuse_pause;\n};\n',
    'docs/man/libpagefuse.3.scd': '; ' + LICENCE + '*pagefuse_pause*()\n',
    'protocol/metrics.c': LICENCE + '\t[A] = VM("ram_bytes", BYTES, "RAM", NULL,\n\t\t"Its "\n\t\t"RAM."),\n'
                          '\t[B] = OF_VM("RAM/Used",\n\t\t"Used.", "nobody looks"),\n',
    'docs/man/pagefuse-metrics.1.scd': '; ' + LICENCE + '## VM\n\n_RAM/Used_\n\tUsed. Not available: nobody looks.\n',
    'docs/man/pagefuse.1.scd': '; ' + LICENCE + '_RAM_\n\tx\n\n## VM\n\n_ram_bytes_\n\tIts RAM.\n\n',
    'docs/design/README.md': 'See [hold.md](hold.md) and [there](https://example.org/).\n',
    'docs/design/hold.md': 'See [the overview](README.md#words).\n',
    'CHANGELOG.md': '## 0.1.0, not released yet\n',
    'meson.build': '# SPDX-License-Identifier: LGPL-2.1-or-later\nproject(\'p\', version: \'0.1.0\')\n',
}
OUTSIDE = '../' + 'shared/notes.md'

# rule, script, file, content
BAD = [
    ('common knows nobody', 'includes.py', 'common/a.c', LICENCE + '#include "protocol/ring.h"\n'),
    ('protocol knows common only', 'includes.py', 'protocol/a.c', LICENCE + '#include "engine/table.h"\n'),
    ('engine knows no daemon', 'includes.py', 'engine/a.c', LICENCE + '#include "daemon/log.h"\n'),
    ('library knows no engine', 'includes.py', 'library/a.c', LICENCE + '#  include <engine/table.h>\n'),
    ('cli knows no library', 'includes.py', 'cli/a.c', LICENCE + '#include "library/hold.h"\n'),
    ('daemon knows no library', 'includes.py', 'daemon/a.c', LICENCE + '#include "library/hold.h"\n'),
    ('examples know the contract only', 'includes.py', 'examples/a.c', LICENCE + '#include "library/hold.h"\n'),
    ('no way round by ..', 'includes.py', 'engine/a.c', LICENCE + '#include "../library/hold.h"\n'),
    ('no unknown folder', 'includes.py', 'helpers/a.c', LICENCE),
    ('no circle', 'includes.py', 'daemon/vm.c', LICENCE + '#include "daemon/session.h"\n'),
    ('no circle in the engine', 'includes.py', 'engine/slots.c', LICENCE + '#include "engine/match.h"\n'),
    ('no circle by an interface', 'includes.py', 'engine/engine.h', LICENCE + '#include "engine/slots.h"\n'),
    ('no circle beside each other', 'includes.py', 'daemon/vm.c', LICENCE + '#include "session.h"\n'),
    ('no circle of three', 'includes.py', 'daemon/store.c', LICENCE + '#include "daemon/session.h"\n'),
    ('licence', 'style.py', 'engine/a.c', 'int a;\n'),
    ('licence of a script', 'style.py', 'tool', '#!/bin/sh\nexit 0\n'),
    ('long line', 'style.py', 'engine/a.c', LICENCE + '\t/* ' + 'x' * 120 + ' */\n'),
    ('blank at the end', 'style.py', 'engine/a.c', LICENCE + 'int a; \n'),
    ('last line', 'style.py', 'engine/a.c', LICENCE + 'int a;'),
    ('long source', 'style.py', 'engine/a.c', LICENCE + 'int a;\n' * 900),
    ('path outside', 'style.py', 'README.md', 'see ' + OUTSIDE + '\n'),
    ('dead link', 'docs.py', 'README.md', 'see [this](docs/design/nothing.md)\n'),
    ('design document that nothing leads to', 'docs.py', 'docs/design/lost.md', 'lost\n'),
    ('version', 'docs.py', 'CHANGELOG.md', '## 0.2.0\n'),
    ('function without a manual', 'docs.py', 'docs/man/libpagefuse.3.scd', 'nothing\n'),
    ('metric without its help', 'docs.py', 'docs/man/pagefuse.1.scd', '_RAM_\n\tx\n\n## VM\n\n_ram_bytes_\n\tIts.\n\n'),
    ('metric that there is not', 'docs.py', 'docs/man/pagefuse.1.scd',
     '_RAM_\n\tx\n\n## VM\n\n_ram_bytes_\n\tIts RAM.\n\n_x_\n\tx\n\n'),
    ('VirtualBox metric without its reason', 'docs.py', 'docs/man/pagefuse-metrics.1.scd',
     '; ' + LICENCE + '## VM\n\n_RAM/Used_\n\tUsed.\n'),
    ('VirtualBox metric that there is not', 'docs.py', 'docs/man/pagefuse-metrics.1.scd',
     '; ' + LICENCE + '## VM\n\n_RAM/Used_\n\tUsed. Not available: nobody looks.\n\n_RAM/Free_\n\tx\n'),
    ('column without a word', 'docs.py', 'docs/man/pagefuse.1.scd', '\n## VM\n\n_ram_bytes_\n\tIts RAM.\n\n'),
    ('path of a machine', 'style.py', 'README.md', 'in /' + 'work/main\n'),
]


def verdict(script, tree):
    with tempfile.TemporaryDirectory() as root:
        for name, content in tree.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='utf-8') as file:
                file.write(content)
        return subprocess.run([sys.executable, os.path.join(HERE, script), root], stdout=subprocess.DEVNULL,
                              check=False).returncode


def main():
    faults = 0
    for script in ('includes.py', 'style.py', 'docs.py'):
        if verdict(script, GOOD) != 0:
            print(f'{script} refuses a tree without fault')
            faults += 1
    for rule, script, name, content in BAD:
        if verdict(script, {**GOOD, name: content}) != 1:
            print(f'{script} does not see: {rule}')
            faults += 1
    print(f'{faults} faults, {len(BAD)} rules')
    sys.exit(1 if faults else 0)


main()
