# SPDX-License-Identifier: LGPL-2.1-or-later
"""Circles among units of which each may depend on others."""


def find(units):
    """Yields, for each unit that is in a circle, the shortest way back to it. @units: unit -> units that it needs."""
    for unit in sorted(units):
        came_from = {unit: None}
        waiting = [unit]
        while waiting:
            last = waiting.pop(0)
            for target in sorted(units.get(last, ())):
                if target == unit:
                    way = [unit]
                    while last is not None:
                        way.insert(0, last)
                        last = came_from[last]
                    yield way
                    waiting.clear()
                    break
                if target not in came_from:
                    came_from[target] = last
                    waiting.append(target)
