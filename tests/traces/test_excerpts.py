"""Parts of workloads, and several in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.traces.excerpts import between, mixed, thinned, without_ticks
from servecast.traces.mooncake_writer import write_mooncake
from servecast.traces.prefixes import prefixes
from servecast.traces.readers import read
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload

S = 1_000_000_000


def arriving(*arrival_s: float) -> Workload:
    """Requests that arrive then, numbered from 1 by their prompt tokens."""
    number = np.arange(1, len(arrival_s) + 1, dtype=np.int64)
    at_ns = np.array([round(at_s * S) for at_s in arrival_s], np.int64)
    return Workload("w", at_ns, number, number, number)


def seconds(workload: Workload) -> list[float]:
    return [at_ns / S for at_ns in workload.arrival_ns.tolist()]


def test_a_span_of_time_begins_at_its_first_request() -> None:
    part = between(arriving(0, 1, 2, 2.5, 4), 1, 4)
    assert part.prompt_tokens.tolist() == [2, 3, 4]
    assert seconds(part) == [0, 1, 1.5]


def test_an_empty_span_is_refused_with_how_long_the_trace_lasts() -> None:
    with pytest.raises(InputError, match="nothing arrives from 5 s to 6 s") as told:
        between(arriving(0, 4), 5, 6)
    assert "0 to 4 s" in str(told.value.hint)


def test_a_tick_is_spread_over_its_length_and_the_last_one_over_the_median() -> None:
    spread = without_ticks(arriving(0, 0, 0, 3, 3, 6))
    assert seconds(spread) == [0, 1, 2, 3, 4.5, 6]
    assert seconds(without_ticks(arriving(0, 2, 6, 6))) == [0, 2, 6, 7.5]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_spreading_keeps_the_order_and_every_tick_before_the_next(ticks: list[int]) -> None:
    workload = arriving(*sorted(ticks))
    spread = without_ticks(workload)
    assert (np.diff(spread.arrival_ns) >= 0).all()
    for tick in set(ticks):
        inside = spread.arrival_ns[workload.arrival_ns == tick * S]
        later = workload.arrival_ns[workload.arrival_ns > tick * S]
        assert inside[0] == tick * S
        assert not len(later) or inside[-1] < later[0]


def test_thinning_keeps_a_share_and_the_same_ones_for_a_seed() -> None:
    many = arriving(*range(4000))
    kept = thinned(many, 0.25, seed=3)
    assert 900 < len(kept) < 1100
    assert kept.prompt_tokens.tolist() == thinned(many, 0.25, seed=3).prompt_tokens.tolist()
    assert set(kept.prompt_tokens.tolist()) <= set(many.prompt_tokens.tolist())


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        thinned(arriving(0, 1), share)


def test_a_mix_is_in_order_and_shares_nothing_between_its_parts() -> None:
    one = replace(arriving(0, 2), name="a", prefixes=prefixes(16, [[0, 1], [0, 1]]))
    two = replace(arriving(1, 3), name="b", prefixes=prefixes(16, [[0, 1], [0, 2]]))
    both = mixed([one, arriving(2.5), two])
    assert both.name == "a+w+b"
    assert seconds(both) == [0, 1, 2, 2.5, 3]
    known = both.prefixes
    assert known is not None
    assert [known.extents(row) for row in range(5)] == [
        [(0, 2)],
        [(2, 2)],
        [(0, 2)],
        [],
        [(2, 1), (4, 1)],
    ]


def test_a_mix_of_block_sizes_or_of_a_closed_loop_is_refused() -> None:
    one = replace(arriving(0), prefixes=prefixes(16, [[0]]))
    two = replace(arriving(0), prefixes=prefixes(512, [[0]]))
    with pytest.raises(InputError, match="blocks of 16 and of 512"):
        mixed([one, two])
    with pytest.raises(InputError, match="closed loop"):
        mixed([one, closed_loop(one, 1)])


def test_mooncakes_format_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    tokens = np.array([600, 1024, 30], np.int64)
    workload = replace(
        arriving(0, 0.5, 0.75),
        prompt_tokens=tokens,
        prefixes=prefixes(512, [[0, 1], [0, 4], []]),
    )
    path = tmp_path / "m.jsonl"
    write_mooncake(workload, path)
    back = read(path)
    assert back.arrival_ns.tolist() == workload.arrival_ns.tolist()
    assert back.prompt_tokens.tolist() == tokens.tolist()
    assert back.prefixes is not None
    assert [back.prefixes.extents(row) for row in range(3)] == [
        [(0, 2)],
        [(0, 1), (4, 1)],
        [(5, 1)],
    ]


def test_blocks_of_another_size_are_not_written_as_mooncakes(tmp_path: Path) -> None:
    workload = replace(arriving(0), prefixes=prefixes(16, [[0]]))
    with pytest.raises(InputError, match="blocks of 16 tokens"):
        write_mooncake(workload, tmp_path / "m.jsonl")
    assert not list(tmp_path.iterdir())
