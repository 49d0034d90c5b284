"""SGLang's prefix cache: a radix tree of KV pages that gives up its least recently used ends.

Of the engine it keeps: pages are found once a request's chunk is computed; a text that parts from
another within a node splits it; whoever computed what the tree has already gives its own copy back;
whole ends go, the one that was looked up or written longest ago first, and a node is an end when
nothing after it is left.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.radix_node import RadixNode, Run, common_pages, later_pages
from servecast.simulator.request import Request
from servecast.traces.prefixes import cut

_OLDER = 1e-5
"""How much longer ago a node counts as used than the next one of a text that was looked up."""


class Match(NamedTuple):
    """What a text finds: how many pages, and the node they lead to."""

    pages: int
    node: RadixNode


class RadixCache(KvBlocks):
    """A pool whose pages are found again. Free are those too that the tree could give up.

    Paired verbs: `hold` and `give_back`.
    """

    __slots__ = ("_blank", "_clock", "_ends", "_held", "_number", "root")

    def __init__(self, total: int, block_size: int) -> None:
        super().__init__(total, block_size)
        self._blank = total
        """Pages that neither the tree nor a request has."""
        self._clock = 0
        self._ends: list[tuple[float, int, RadixNode]] = []
        """By last use; some are no ends any more, or were used since."""
        self._held: dict[Request, RadixNode] = {}
        self._number = count()
        self.root = RadixNode([], None)
        """Of no pages."""

    def pages_of(self, tokens: int) -> int:
        """By how many pages a text of so many tokens is found."""
        return tokens // self.block_size

    def chain(self, request: Request) -> list[Run]:
        """The ids of a request's pages."""
        return request.chain

    def find(self, request: Request, at_most: int) -> Match:
        """The longest cached part of the request's text, up to `at_most` pages, used just now."""
        node, pages, rest = self.root, 0, cut(self.chain(request), at_most)
        while rest and rest[0][0] in node.children:
            child = node.children[rest[0][0]]
            part = common_pages(child.runs, rest)
            pages += part
            if part < child.length:
                node = self._split(child, part)
                break
            node, rest = child, later_pages(rest, part)
        self._clock += 1
        last_use, used = float(self._clock), node
        while used.parent is not None:
            self._use(used, last_use)
            last_use, used = last_use - _OLDER, used.parent
        return Match(pages, node)

    def hold(self, request: Request, match: Match) -> None:
        """Give the request the pages that `find` found for it just now."""
        self._lock(match.node)
        self._held[request] = match.node
        request.num_blocks = request.num_cached_blocks = match.pages

    def cache(self, request: Request, blocks: int) -> None:
        """Put the request's first pages into the tree; it goes on to hold them there."""
        if blocks:
            node, matched = self._insert(request, blocks)
            prompt = self.pages_of(request.prompt_tokens)
            if 0 < prompt < blocks:
                self._insert(request, prompt)
            copies = max(0, matched - request.num_cached_blocks)
            self._blank += copies
            self.free += copies
            self._lock(node)
            self._unlock(self._held.get(request, self.root))
            self._held[request] = node
            request.num_cached_blocks = blocks

    def give_back(self, request: Request) -> None:
        """Release all pages of the request; those in the tree stay to be found while they are."""
        own = request.num_blocks - request.num_cached_blocks
        self._blank += own
        self.free += own
        self._unlock(self._held.pop(request, self.root))
        request.num_blocks = request.num_cached_blocks = 0

    def make_room(self, blocks: int) -> None:
        """Evict ends until so many pages are blank, or none can be given up."""
        while self._blank < blocks and self._ends:
            last_use, _, node = heappop(self._ends)
            if node.is_end and node.last_use == last_use and node.parent is not None:
                self._blank += node.length
                del node.parent.children[node.runs[0][0]]
                self._note_end(node.parent)
                node.parent = None

    def allocate(self, blocks: int) -> None:
        """Take `blocks` pages; the caller has seen that they are free."""
        self.make_room(blocks)
        super().allocate(blocks)
        self._blank -= blocks

    def check(self, held: int) -> None:
        """Raise if pages were lost or doubled, `held` being those that are not in the tree."""
        nodes, locked, spare = list(self.root.children.values()), 0, 0
        for node in nodes:
            nodes.extend(node.children.values())
            locked += node.length if node.holders else 0
            spare += 0 if node.holders else node.length
        if self._blank + spare != self.free:
            raise AssertionError(f"{self._blank} blank + {spare} unheld ≠ {self.free} free")
        super().check(held + locked)

    def _insert(self, request: Request, pages: int) -> tuple[RadixNode, int]:
        """The node that the request's first pages lead to, and how many the tree had."""
        node, matched, rest = self.root, 0, cut(self.chain(request), pages)
        while rest and rest[0][0] in node.children:
            node = node.children[rest[0][0]]
            self._touch(node)
            part = common_pages(node.runs, rest)
            if part < node.length:
                node = self._split(node, part)
            matched += part
            rest = later_pages(rest, part)
        if rest:
            node = self._add(rest, node)
        return node, matched

    def _add(self, runs: list[Run], parent: RadixNode) -> RadixNode:
        node = RadixNode(runs, parent)
        parent.children[runs[0][0]] = node
        self.free += node.length
        self._touch(node)
        return node

    def _split(self, node: RadixNode, pages: int) -> RadixNode:
        head = node.split(pages)
        self._touch(head)
        self._touch(node)
        return head

    def _touch(self, node: RadixNode) -> None:
        self._clock += 1
        self._use(node, float(self._clock))

    def _use(self, node: RadixNode, moment: float) -> None:
        node.last_use = moment
        self._note_end(node)

    def _note_end(self, node: RadixNode) -> None:
        if node.is_end:
            heappush(self._ends, (node.last_use, next(self._number), node))

    def _lock(self, node: RadixNode) -> None:
        while node.parent is not None:
            if not node.holders:
                self.free -= node.length
            node.holders += 1
            node = node.parent
        self._note_peak()

    def _unlock(self, node: RadixNode) -> None:
        while node.parent is not None:
            node.holders -= 1
            if not node.holders:
                self.free += node.length
                self._note_end(node)
            node = node.parent

    def _note_peak(self) -> None:
        self.peak_used = max(self.peak_used, self.total - self.free)
