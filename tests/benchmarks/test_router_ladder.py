"""llm-d's ladder: what is read of it, what load it is, and that prefixes are worth as much."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ladder_page import draw
from benchmarks.router_ladder import ARMS, comparison, gains, measured, simulated
from benchmarks.shared_prefix_load import LADDER, WARM_UP, shared_prefixes
from benchmarks.table import Row


def test_the_load_is_750_prompts_of_150_beginnings_sent_over_and_over() -> None:
    workload = shared_prefixes(1200, 1000, [WARM_UP, (30.0, 25.0)], seed=0)
    assert len(workload) == 1500
    assert workload.prefixes is not None
    chains = [tuple(workload.prefixes.extents(row)) for row in range(1500)]
    assert len(set(chains)) == 750
    assert chains[:750] == chains[750:]
    assert {chain[0] for chain in chains} == {(375 * group, 375) for group in range(150)}
    owned = sorted(chain[1] for chain in set(chains))
    assert all(one + length == another for (one, length), (another, _) in pairwise(owned))
    assert (workload.prefixes.blocks() * 16 == workload.prompt_tokens).all()
    assert np.diff(workload.arrival_ns).min() < 0  # a stage counts from its own start


@pytest.mark.usefixtures("data_dir")
def test_three_servers_were_measured_behind_two_routers_at_every_rate() -> None:
    found = measured()
    assert sorted(server.title for server in found) == [
        "Qwen3-32B sglang",
        "Qwen3-32B vllm",
        "gpt-oss-120b vllm",
    ]
    assert all(list(rates) == list(LADDER) for arms in found.values() for rates in arms.values())


def told(engine: str, rates: Sequence[float]) -> list[Row]:
    """Qwen3-32B at these rates, measured and simulated."""
    servers = measured()
    server = next(each for each in servers if each.title == f"Qwen3-32B {engine}")
    return comparison(servers[server], {arm: simulated(server, arm, rates) for arm in ARMS}, rates)


@pytest.mark.usefixtures("data_dir")
def test_prefix_affinity_gains_at_two_rates_what_was_measured(tmp_path: Path) -> None:
    rows = told("vllm", (30.0, 60.0))
    there, here = gains(rows)
    assert here == pytest.approx(there, rel=0.2)
    draw(tmp_path / "ladder.html", {"Qwen3-32B": rows}, {"Qwen3-32B": "as much"})
    assert "round robin, simulated" in (tmp_path / "ladder.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_over_the_whole_ladder_it_gains_as_much_within_a_fifth(engine: str) -> None:
    there, here = gains(told(engine, tuple(LADDER)))
    assert here == pytest.approx(there, rel=0.2)
