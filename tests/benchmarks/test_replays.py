"""Replays of published servers: what is read of them, and that a forecast moves as it must."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import dstack_replay, tokenpos_replay
from servecast.primitives.corrected_source import default_source
from servecast.primitives.step_costs import StepCosts

pytestmark = pytest.mark.usefixtures("data_dir")


def test_runs_of_one_replica_of_the_large_model_are_read() -> None:
    kinds = Counter((run.server.gpu, run.server.ranks) for run in dstack_replay.runs())
    assert kinds == {("H100-SXM-80GB", 8): 20, ("MI300X", 4): 22, ("MI300X", 8): 44}
    rated = [run for run in dstack_replay.runs() if "tokens/s" in run.kind]
    assert all(np.diff(run.workload.arrival_ns).max() > 0 for run in rated)


def test_a_smaller_kv_cache_makes_a_batch_take_longer() -> None:
    costs = StepCosts(default_source())
    run = max(
        (run for run in dstack_replay.runs() if "prompts of 128" in run.kind),
        key=lambda run: (run.server.gpu.startswith("H100"), len(run.workload)),
    )
    ample = dstack_replay.forecast(run, costs)
    scarce = dstack_replay.forecast(run, costs, dstack_replay.READ_OFF_TOKENS)
    assert scarce > 1.5 * ample
    assert scarce == pytest.approx(run.measured, rel=0.3)


def test_the_named_servers_of_the_nameless_node() -> None:
    servers = Counter(run.server for run in tokenpos_replay.runs())
    assert servers == {
        "GLM-5-FP8 tp8": 52,
        "MiniMax-M2.5 dep8": 7,
        "MiniMax-M2.5 tep8": 65,
        "Qwen3.5-397B-A17B tp8": 45,
    }


def test_the_factor_makes_a_server_as_slow_as_it_was_measured() -> None:
    own = [run for run in tokenpos_replay.runs() if "dep8" in run.server][:2]
    found, refused = tokenpos_replay.errors(own, "h200_sxm")
    assert not refused
    slower = [
        replace(r, measured=_halved(r.measured, e[2])) for r, e in zip(own, found, strict=True)
    ]
    factor = tokenpos_replay.factor_of(slower, "h200_sxm")
    assert 1.5 < factor < 2.6
    assert abs(np.median(tokenpos_replay.errors(slower, "h200_sxm", factor)[0][:, 2])) < 0.05


def test_what_has_no_room_is_refused_with_its_reason() -> None:
    own = [run for run in tokenpos_replay.runs() if "GLM" in run.server][:3]
    found, refused = tokenpos_replay.errors(own, "h100_sxm")
    assert len(found) == 0
    assert refused == {"the KV cache would hold 0 tokens": 3}


def _halved(measured: tuple[float, float, float], error: float) -> tuple[float, float, float]:
    """The same with half the rate that is forecast."""
    return (measured[0], measured[1], measured[2] * (1 + error) / 2)


def test_without_the_folder_nothing_runs(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    monkeypatch.delenv("SERVECAST_DATA")
    assert data_dir.is_dir()
    with pytest.raises(SystemExit, match="SERVECAST_DATA"):
        list(tokenpos_replay.runs())
