"""vLLM's own scheduler and `OffloadingConnector`, and the simulator's, at equal costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servecast.primitives.deployment import Deployment
from servecast.primitives.host_kv import HostKv
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import ledger
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.link import Link
from servecast.simulator.records import Records
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.simulate import replay
from servecast.timewarp import vllm_engine
from servecast.timewarp.emulate import emulate
from servecast.timewarp.mode import Mode
from servecast.timewarp.serving import Serving
from servecast.traces.prefixes import prefixes
from servecast.traces.workload import Workload
from tests.differential.offloading import in_order_of_names, offloading_executor_class
from tests.emulated_options import options
from tests.timewarp.emulated_cases import caching, conversations, many_prefixes, requests

pytestmark = pytest.mark.engine(name="vllm")

COLUMNS = ("index", "arrival_ns", "first_token_ns", "finish_ns", "output_tokens", "preemptions")


def prompts_alone(count: int, rate_per_s: float, chains: int, seed: int = 4) -> Workload:
    """Long prompts of a few chains, with an output of one token each."""
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate_per_s, count)).tolist()
    lengths = rng.integers(20, 900, count).tolist()
    which = rng.integers(0, chains, count).tolist()
    named = [
        range(100 * chain, 100 * chain + length // 16)
        for chain, length in zip(which, lengths, strict=True)
    ]
    return replace(requests(arrival_s, lengths, [1]), prefixes=prefixes(16, named))


SMALL = caching(max_model_len=1024, num_gpu_blocks_override=150)
CASES: dict[str, tuple[Deployment, Workload, int, float]] = {
    "all fits": (SMALL, many_prefixes(150, 12.0), 100_000, 20_000.0),
    "all fits behind a slow link": (SMALL, many_prefixes(150, 12.0), 100_000, 900_000.0),
    "conversations": (SMALL, conversations(12, 8), 100_000, 50_000.0),
    "prompts alone": (SMALL, prompts_alone(200, 20.0, 12), 100_000, 100_000.0),
    "prompts alone in a small tier": (SMALL, prompts_alone(300, 20.0, 12), 300, 100_000.0),
    "prompts longer than the tier": (SMALL, prompts_alone(250, 20.0, 12), 40, 100_000.0),
    "beginnings on their way in a small tier": (SMALL, many_prefixes(150, 40.0), 220, 900_000.0),
    "beginnings on their way in a tiny tier": (SMALL, many_prefixes(150, 20.0), 60, 300_000.0),
    "conversations in a small tier": (SMALL, conversations(16, 8), 250, 300_000.0),
}


def theirs(
    deployment: Deployment, workload: Workload, host: HostKv, monkeypatch: pytest.MonkeyPatch
) -> Records:
    pytest.importorskip("vllm")

    def executor_class(serving: Serving) -> type[Any]:
        to_gpu, to_host = Link(host.to_gpu_block_ns, 1), Link(host.to_host_block_ns, 1)
        return offloading_executor_class(serving, to_gpu, to_host)

    monkeypatch.setattr(vllm_engine, "executor_class", executor_class)
    in_order_of_names(monkeypatch)
    size_gib = host.blocks * ledger(deployment).geometry.bytes_per_block / 2**30
    words = [*options(deployment, workload), "--kv-offloading-size", repr(size_gib)]
    cost = CompiledStepCost(deployment, RooflineSource(), HostTime())
    return emulate(deployment, workload, words, cost, Mode(stepping=True)).result.records


@pytest.mark.parametrize("name", CASES)
def test_every_request_is_served_at_the_same_nanosecond(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, workload, blocks, block_ns = CASES[name]
    host = HostKv(blocks, 1, block_ns, block_ns)
    emulated = theirs(deployment, workload, host, monkeypatch)
    limits = replace(scheduler_limits(deployment, ledger(deployment), workload), host=host)
    cost = CompiledStepCost(deployment, RooflineSource(), HostTime())
    simulated = replay(deployment, workload, limits, cost).records
    assert simulated.host_tokens.sum() > 100
    for column in COLUMNS:
        np.testing.assert_array_equal(
            getattr(emulated, column), getattr(simulated, column), f"{name}: {column}"
        )
    found = simulated.cached_tokens + simulated.host_tokens
    full = simulated.prompt_tokens - 1
    np.testing.assert_array_equal(emulated.cached_tokens, np.minimum(found, full))
