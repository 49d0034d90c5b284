"""Drafts pay while the device waits for memory, and less so the more it has to compute.

The signs are those of vLLM's own measurement (blog, 2024-10-17): Llama-3-70B on four H100s was 1.5
and 2.8 times faster with drafts at one request a second, and slower at a high rate.
"""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest

from servecast.primitives.acceptance import decaying, tokens_per_step
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafters import own_model
from servecast.primitives.dtype import Dtype
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.speculation import Speculation
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.traces.synthesize import synthesize

LLAMA = model("llama-3.1-70b")
PLAIN = Deployment(
    model=LLAMA,
    accelerator=accelerator("h100_sxm"),
    engine="vllm",
    engine_version="0.32",
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=4096,
    max_num_seqs=256,
    max_num_batched_tokens=4096,
    tensor_parallel_size=4,
)
DRAFTED = Speculation(
    "draft_model", 4, decaying(0.7, 0.95, 4), own_model(LLAMA, model("llama-3.2-1b"))
)
LOOKED_UP = Speculation("ngram", 4, decaying(0.3, 0.9, 4))
LOADS = {"light": (1.0, 30), "heavy": (40.0, 300)}


@cache
def ran(load: str, speculation: Speculation | None) -> Result:
    rate, count = LOADS[load]
    traffic = synthesize("chat", count, rate_per_s=rate, seed=1)
    return simulate(
        dataclasses.replace(PLAIN, speculation=speculation), traffic, source=RooflineSource()
    )


def gain(load: str, speculation: Speculation) -> float:
    """How many times sooner the requests are answered with drafts, on average."""
    return ran(load, None).e2e.mean / ran(load, speculation).e2e.mean


@pytest.mark.parametrize("speculation", [DRAFTED, LOOKED_UP], ids=["draft model", "n-gram"])
def test_drafts_pay_at_a_light_load_and_much_less_at_a_heavy_one(speculation: Speculation) -> None:
    assert gain("light", speculation) > 1.2
    assert gain("heavy", speculation) < 0.65 * gain("light", speculation)


def test_drafts_that_are_mostly_rejected_cost_at_a_heavy_load() -> None:
    assert gain("heavy", LOOKED_UP) < 0.9


def test_no_gain_exceeds_the_tokens_of_a_step() -> None:
    for speculation in (DRAFTED, LOOKED_UP):
        assert gain("light", speculation) < tokens_per_step(speculation.acceptance)


def test_a_lookup_of_nothing_accepted_is_never_faster() -> None:
    nothing = Speculation("ngram", 4, (0.0,) * 4)
    assert gain("light", nothing) <= 1.0
    assert gain("heavy", nothing) < gain("heavy", LOOKED_UP)
