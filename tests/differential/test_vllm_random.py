"""Limits and requests drawn at random: vLLM and the simulator agree, skipping or not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from servecast.emulation import run
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.simulator.simulate import simulate
from servecast.timewarp.mode import Mode
from tests.differential.test_vllm import Note, assert_same_decisions, assert_same_run
from tests.timewarp.emulated_cases import Case, caching, limited, requests

pytestmark = [pytest.mark.engine(name="vllm"), pytest.mark.slow]

SEEDS = range(12)


def drawn(seed: int) -> Case:
    """Cramped caches, small budgets, bursts, lulls; every third engine has a prefix cache."""
    rng = np.random.default_rng(seed)
    max_model_len = int(rng.choice([128, 256, 512]))
    max_num_seqs = int(rng.integers(1, 24))
    deployment = (caching if seed % 3 == 0 else limited)(
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_seqs + int(rng.integers(0, 300)),
        num_gpu_blocks_override=max_model_len // 16 + 1 + int(rng.integers(0, 60)),
    )
    count = int(rng.integers(10, 60))
    gaps_s = rng.choice([0.0, 1e-9, 0.01, 0.3], count) * rng.random(count)
    prompts = rng.integers(1, max_model_len - 1, count)
    outputs = 1 + rng.integers(0, max_model_len, count) % (max_model_len - prompts)
    made = requests(np.cumsum(gaps_s).tolist(), prompts.tolist(), outputs.tolist())
    declared = np.minimum(made.output_tokens + rng.integers(0, 50, count), 4096)
    return Case(f"seed {seed}", deployment, dataclasses.replace(made, max_tokens=declared))


@pytest.mark.parametrize("seed", SEEDS)
def test_vllm_agrees_with_the_simulator_and_with_itself(seed: int, record_property: Note) -> None:
    pytest.importorskip("vllm")
    case = drawn(seed)
    source = RooflineSource()
    simulation = simulate(case.deployment, case.workload, source=source)
    stepped = run(case.deployment, case.workload, source, HostTime(), Mode(log_batches=True))
    assert_same_decisions(case, stepped, record_property)
    assert_same_run(case, stepped, simulation)
    skipped = run(case.deployment, case.workload, source, HostTime())
    assert_same_run(case, skipped, simulation)
