"""Law 4: the same inputs give the same bytes, in any process and with any hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from servecast.primitives.deployment import Routing
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.traces.workload import Workload
from tests.toy_deployments import WINDOWED

ROOT = Path(__file__).parents[2]
ROUTINGS: tuple[Routing, ...] = (
    "round_robin",
    "central_queue",
    "power_of_two",
    "prefix_affinity",
    "kv_overlap",
)


def crowded(routing: Routing) -> Result:
    """Two replicas with little KV cache under bursts: queues, preemptions and ties."""
    rng = np.random.default_rng(7)
    arrival_ns = np.cumsum(rng.integers(0, 4, 300) * 20_000_000)
    prompts, outputs = rng.integers(1, 200, 300), rng.integers(1, 200, 300)
    deployment = replace(
        WINDOWED,
        replicas=2,
        routing=routing,
        max_model_len=400,
        max_num_seqs=16,
        num_gpu_blocks_override=200,
    )
    return simulate(deployment, Workload("crowded", arrival_ns, prompts, outputs, outputs))


def digest(result: Result) -> str:
    """A hash of every column of records and run logs."""
    columns = [getattr(result.records, field.name) for field in fields(result.records)]
    columns += [
        log.column(name) for log in result.logs for name in ("start_ns", "steps", "blocks_used")
    ]
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


@pytest.mark.parametrize("routing", ROUTINGS)
def test_a_second_run_gives_the_same_bytes(routing: Routing) -> None:
    first, second = crowded(routing), crowded(routing)
    assert first.preemptions > 0
    assert digest(first) == digest(second)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295"])
def test_another_process_with_another_hash_seed_gives_the_same_bytes(hash_seed: str) -> None:
    module = "from tests.laws.test_determinism import ROUTINGS, crowded, digest"
    script = f"{module}; print(*[digest(crowded(routing)) for routing in ROUTINGS])"
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == [digest(crowded(routing)) for routing in ROUTINGS]
