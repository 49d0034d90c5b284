"""What engines do to a host tier, as hypothesis draws it: requests that begin alike and end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

from servecast.simulator.extent_map import Piece, pieces

CHAINS = (
    ((0, 16),),
    ((0, 3), (100, 13)),
    ((0, 3), (100, 2), (200, 11)),
    ((300, 16),),
    ((-64, 16),),
)


@dataclass(frozen=True)
class Act:
    """A request's next act: offer its first blocks, load from one on, or end."""

    chain: tuple[Piece, ...]
    start: int
    end: int
    kind: str

    def run(self) -> list[Piece]:
        """The blocks that it is about, as pieces."""
        return list(pieces(self.chain, self.start, self.end))


def ids(run: list[Piece]) -> list[int]:
    """The same one by one."""
    return [block for first, length in run for block in range(first, first + length)]


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Act]]:
    """A tier's size, and acts in the order they come."""
    kinds = st.sampled_from(("store", "store", "written", "load", "loaded", "use", "find"))

    def acts() -> Iterator[Act]:
        for _ in range(draw(st.integers(1, 60))):
            start = draw(st.integers(0, 12))
            chain = draw(st.sampled_from(CHAINS))
            yield Act(chain, start, draw(st.integers(start + 1, 16)), draw(kinds))

    return draw(st.integers(0, 40)), list(acts())
