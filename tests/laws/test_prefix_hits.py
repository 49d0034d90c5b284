"""The prefix cache finds what independent replays of the published traces found.

Shares of blocks found by least-recently-used caches of several sizes (as shares of the trace's
unique blocks), and by one that forgets nothing: third parties' replays of the Mooncake traces.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.simulator.prefix_cache import PrefixCache
from servecast.simulator.request import Request
from servecast.traces.prefixes import cut
from servecast.traces.readers import read

PUBLISHED = {
    "mooncake_conversation": {0.01: 0.052, 0.05: 0.195, 0.10: 0.278, 0.25: 0.353, 0.50: 0.363},
    "mooncake_synthetic": {0.01: 0.034, 0.05: 0.155, 0.10: 0.260, 0.25: 0.443, 0.50: 0.589},
}
IDEAL = {"mooncake_conversation": (182_790, 0.366), "mooncake_synthetic": (43_924, 0.640)}


def share_found(path: Path, blocks: int) -> float:
    """Requests one after another, each with its prompt's blocks, the cut last one among them."""
    workload = read(path)
    assert workload.prefixes is not None
    cache, found, asked = PrefixCache(blocks, 512), 0, 0
    for row, tokens in enumerate(workload.prompt_tokens.tolist()):
        count = -(-tokens // 512)
        chain = cut(workload.prefixes.extents(row), count)
        request = Request(row, 0, tokens, 1, 1, known=chain)
        hit = cache.find(request, count)
        cache.hold(request, hit)
        cache.allocate(count - hit.blocks)
        request.num_blocks = count
        cache.cache(request, count)
        cache.give_back(request)
        found += hit.blocks
        asked += count
    cache.check(0)
    return found / asked


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_cache_that_forgets_finds_what_was_published_within_half_a_point(
    data_dir: Path, name: str
) -> None:
    unique, _ = IDEAL[name]
    path = data_dir / "traces" / f"{name}.jsonl.gz"
    for size, published in PUBLISHED[name].items():
        assert share_found(path, int(size * unique)) == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("name", IDEAL)
def test_a_cache_that_holds_all_finds_the_ideal_share(data_dir: Path, name: str) -> None:
    unique, ideal = IDEAL[name]
    path = data_dir / "traces" / f"{name}.jsonl.gz"
    assert round(share_found(path, unique + 300), 3) == ideal
