"""Which of those who wait go deepest into the same part of a radix tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from servecast.simulator.radix_node import RadixNode


def heaviest_first(root: RadixNode, ends: Sequence[RadixNode]) -> list[int]:
    """Places in `ends`, depth first: of a node's children the one that most of them lie below.

    Of equals the child that came first; those who end at a node come after all below it.
    """
    weights: Counter[RadixNode] = Counter()
    places: dict[RadixNode, list[int]] = {}
    for place, end in enumerate(ends):
        places.setdefault(end, []).append(place)
        node: RadixNode | None = end
        while node is not None:
            weights[node] += 1
            node = node.parent
    order: list[int] = []
    stack = [(root, False)]
    while stack:
        node, is_left = stack.pop()
        if is_left:
            order.extend(places.get(node, ()))
            continue
        stack.append((node, True))
        below = [child for child in node.children.values() if child in weights]
        below.sort(key=weights.__getitem__, reverse=True)
        stack.extend((child, False) for child in reversed(below))
    return order
