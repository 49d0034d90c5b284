"""Stages, priorities and pieces of long prompts in a scenario: stated, simulated, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servecast.domain import deployment, workload
from servecast.errors import UnsupportedError
from servecast.loading import loads
from servecast.search.space import refuse_unsearched
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from tests.command import run
from tests.servecast.minimal import changed

ROWS = 120


def served(options: str, traffic: str = "") -> Result:
    text = changed("{max_num_seqs: 64}", f"{{{options}}}").replace("gpus: 1", "gpus: 4")
    if traffic:
        start, end = text.index("workload"), text.index("slo")
        text = f"{text[:start]}workload: {{{traffic}}}\n{text[end:]}"
    scenario = loads(text)
    return simulate(deployment(scenario), workload(scenario))


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """A crowd, every fourth of it urgent, and as often a long prompt."""
    lines = ["arrival_s,input_tokens,output_tokens,priority"]
    for place in range(ROWS):
        prompt = 3000 if place % 4 == 3 else 60
        lines.append(f"{place / 40},{prompt},80,{-1 if place % 4 == 0 else 0}")
    path = tmp_path / "mixed.csv"
    path.write_text("\n".join(lines) + "\n")
    return f"trace: {path}"


def test_the_urgent_wait_less_by_priority(mixed: str) -> None:
    few = "max_num_seqs: 4, max_model_len: 4096"
    urgent = np.arange(ROWS) % 4 == 0
    in_turn, by_priority = (
        served(f"{few}, scheduling_policy: {policy}", mixed).records.ttft_ns
        for policy in ("fcfs", "priority")
    )
    assert by_priority[urgent].mean() < 0.3 * in_turn[urgent].mean()
    assert by_priority[~urgent].mean() > in_turn[~urgent].mean()


def test_pieces_of_long_prompts_shorten_the_longest_gap(mixed: str) -> None:
    room = "max_num_seqs: 64, max_model_len: 4096"
    whole, pieces = (
        served(f"{room}{limit}", mixed) for limit in ("", ", long_prefill_token_threshold: 256")
    )
    assert pieces.itl.max < 0.7 * whole.itl.max
    long = np.arange(ROWS) % 4 == 3
    assert pieces.records.ttft_ns[long].mean() > whole.records.ttft_ns[long].mean()


def test_stages_are_said_and_simulated_and_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "{max_num_seqs: 64, pipeline_parallel_size: 2}"
    text = changed("{max_num_seqs: 64}", options).replace("gpus: 1", "gpus: 2")
    monkeypatch.chdir(tmp_path)
    Path("staged.yaml").write_text(text)
    told = run("simulate", "staged.yaml")
    assert told.code == 0
    assert "1 replica of 2 × h100_sxm" in told.out
    assert "pipeline_parallel_size 2" in told.out
    with pytest.raises(UnsupportedError, match="pipeline_parallel_size 2 is not searched yet"):
        refuse_unsearched(deployment(loads(text)))
