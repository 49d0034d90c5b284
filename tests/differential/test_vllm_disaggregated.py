"""Two vLLM engines, one of prompts and one of outputs, and the simulator's, at equal costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.kv_cache_geometry import kv_cache_geometry
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.sharding import Sharding
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.fleet.transfer import Transfer
from servecast.simulator.records import Records
from servecast.timewarp.remote_kv import Link
from servecast.timewarp.remote_kv_run import emulate_disaggregated
from servecast.timewarp.vllm_replica import Node
from servecast.traces.workload import Workload
from tests.emulated_options import options
from tests.timewarp.emulated_cases import burst, caching, limited, many_prefixes, requests

pytestmark = pytest.mark.engine(name="vllm")

COLUMNS = ("index", "arrival_ns", "first_token_ns", "finish_ns", "output_tokens", "preemptions")
STEADY = [0.013 * i for i in range(60)]
CASES: dict[str, tuple[Deployment, Deployment, Workload, float, float]] = {
    "steady": (limited(), limited(), requests(STEADY, [512, 1024, 64], [60, 7, 130]), 25e9, 0.0),
    "slow link": (limited(), limited(), requests(STEADY, [512, 1024, 64], [60, 7]), 2e9, 1e-3),
    "burst": (limited(), limited(), burst(40, [1024, 256], [50, 3, 90]), 25e9, 2e-4),
    "prompts in many chunks": (
        limited(max_num_batched_tokens=128),
        limited(max_num_batched_tokens=64),
        burst(90, [1024, 96, 320], [50, 3, 90]),
        25e9,
        0.0,
    ),
    "few places": (
        limited(),
        limited(max_num_seqs=5),
        burst(40, [96, 1024, 16], [50, 3, 90]),
        25e9,
        0.0,
    ),
    "little room where prompts are computed": (
        limited(max_model_len=1024, num_gpu_blocks_override=97),
        limited(max_model_len=1024),
        burst(40, [512, 336, 64], [30, 20, 90]),
        1e9,
        0.0,
    ),
    "preemptions where they decode": (
        limited(max_model_len=1024),
        limited(max_model_len=1024, num_gpu_blocks_override=97),
        burst(24, [128, 304, 64], [300, 200, 90]),
        25e9,
        0.0,
    ),
    "prefix caches": (
        caching(max_model_len=1024, num_gpu_blocks_override=400),
        caching(max_model_len=1024, num_gpu_blocks_override=400),
        many_prefixes(80, 20.0),
        5e9,
        0.0,
    ),
    "prefix caches under preemptions": (
        caching(max_model_len=1024, num_gpu_blocks_override=120),
        caching(max_model_len=1024, num_gpu_blocks_override=120),
        many_prefixes(80, 40.0),
        5e9,
        0.0,
    ),
}


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def rows(records: Records) -> list[tuple[int, ...]]:
    columns = (getattr(records, name).tolist() for name in COLUMNS)
    return list(zip(*columns, strict=True))


def in_blocks(workload: Workload) -> Workload:
    """Prompts of whole blocks, in which caches are sent."""
    return replace(workload, prompt_tokens=-(-workload.prompt_tokens // 16) * 16)


@pytest.mark.parametrize("name", CASES)
def test_every_request_has_its_tokens_at_the_same_nanosecond(name: str) -> None:
    prefill, decode, drawn, bytes_per_s, latency_s = CASES[name]
    traffic = in_blocks(drawn)
    first, second = (
        Node(each, options(each, traffic), CompiledStepCost(each, RooflineSource(), HostTime()))
        for each in (prefill, decode)
    )
    geometry = kv_cache_geometry(decode.model, Sharding(), decode.kv_cache_dtype)
    link = Link(bytes_per_s, geometry.bytes_per_token, latency_s)
    real = emulate_disaggregated(first, second, traffic, link)
    ours = simulate_fleet(
        Fleet(
            (Pool("prompts", prefill, "prefill"), Pool("outputs", decode, "decode")),
            transfer=Transfer(
                bw_bytes_per_s=bytes_per_s, latency_s=latency_s, first_token="decode"
            ),
        ),
        traffic,
        source=RooflineSource(),
        host=lambda _: HostTime(),
    )
    assert rows(ours.records) == rows(real.records)
    assert (real.records.preemptions.sum() > 10) == ("preemptions" in name)
    assert (ours.records.cached_tokens.sum() > 10_000) == ("prefix" in name)
