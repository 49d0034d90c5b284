"""vLLM and the simulator agree to the nanosecond on models whose layers keep unlike things."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from servecast.emulation import run
from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.model import ModelSpec
from servecast.primitives.roofline import RooflineSource
from servecast.simulator.records import Records
from servecast.simulator.simulate import simulate
from servecast.timewarp.mode import Mode
from servecast.traces.prefixes import prefixes
from servecast.traces.workload import Workload
from tests.timewarp.emulated_cases import PLAIN, requests

pytestmark = pytest.mark.engine(name="vllm")

SOURCE, HOST = RooflineSource(), HostTime()


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def windows() -> ModelSpec:
    """gpt-oss-20b: half its layers see 128 tokens."""
    return model("openai/gpt-oss-20b")


def delta_nets() -> ModelSpec:
    """Qwen3-Next of eight layers: six of them recurrent."""
    spec = model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    counts = [replace(group, count=group.count // 6) for group in spec.layers]
    return replace(spec, layers=tuple(counts))


def mamba(folder: Path) -> ModelSpec:
    """Nemotron-H of eight layers without feed-forward parts, six of them Mamba."""
    keys = {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "hidden_size": 2688,
        "vocab_size": 65536,
        "max_position_embeddings": 65536,
        "torch_dtype": "bfloat16",
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 8,
        "hybrid_override_pattern": "MMM*MMM*",
        "mamba_num_heads": 32,
        "mamba_head_dim": 64,
        "n_groups": 8,
        "ssm_state_size": 128,
        "conv_kernel": 4,
    }
    (folder / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    return model(str(folder))


def served(spec: ModelSpec, **changes: object) -> Deployment:
    plain = replace(PLAIN, model=spec, weights_dtype=spec.weights_dtype, enable_prefix_caching=True)
    return replace(plain, max_model_len=12288, **changes)  # type: ignore[arg-type]


def alike(count: int, rate_per_s: float, seed: int = 3) -> Workload:
    """Prompts that begin with some of a few texts, and conversations that go on."""
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate_per_s, count)).tolist()
    lengths = rng.integers(20, 500, count)
    popular = np.minimum(rng.zipf(1.6, count) - 1, 5)
    shared = rng.integers(1, 30, count) * 8
    named = [
        range(1000 * which, 1000 * which + int(n)) for which, n in zip(popular, shared, strict=True)
    ]
    prompts = (16 * shared + lengths).tolist()
    plain = requests(arrival_s, prompts, [40, 120, 15, 700, 33, 260])
    return dataclasses.replace(plain, prefixes=prefixes(16, named))


def compare(deployment: Deployment, *, is_small: bool) -> None:
    """Raise unless both say the same of every request; requests give way in a small cache."""
    workload = alike(70, 16.0)
    emulation = run(deployment, workload, SOURCE, HOST, Mode(log_batches=True))
    simulation = simulate(deployment, workload, source=SOURCE, host=HOST)
    theirs, ours = emulation.result, simulation
    for column in (field.name for field in fields(Records)):
        np.testing.assert_array_equal(
            getattr(ours.records, column), getattr(theirs.records, column), column
        )
    assert ours.itl == theirs.itl
    assert (ours.num_blocks, ours.peak_blocks) == (theirs.num_blocks, theirs.peak_blocks)
    (log,) = emulation.batches
    assert len(ours.logs[0]) == len(log.batches) > 900
    assert ours.records.cached_tokens.sum() > 5000
    assert (ours.preemptions > 0) == is_small


@pytest.mark.parametrize(("blocks", "ahead"), [(8000, True), (1200, False), (1200, True)])
def test_windows(blocks: int, ahead: bool) -> None:
    compare(
        served(windows(), num_gpu_blocks_override=blocks, async_scheduling=ahead),
        is_small=blocks < 2000,
    )


@pytest.mark.parametrize(("blocks", "ahead"), [(800, True), (110, False), (110, True)])
def test_delta_nets(blocks: int, ahead: bool) -> None:
    pytest.importorskip("compressed_tensors")
    spec = delta_nets()
    compare(
        served(spec, num_gpu_blocks_override=blocks, async_scheduling=ahead), is_small=blocks < 200
    )


@pytest.mark.parametrize(("blocks", "ahead"), [(800, True), (70, False), (70, True)])
def test_mamba_whose_kernel_writes_checkpoints(tmp_path: Path, blocks: int, ahead: bool) -> None:
    spec = mamba(tmp_path)
    compare(
        served(spec, num_gpu_blocks_override=blocks, async_scheduling=ahead), is_small=blocks < 200
    )


def test_a_stand_in_for_a_hybrid_has_no_prefix_cache() -> None:
    deployment = served(model("nemotron-3-nano"))
    with pytest.raises(UnsupportedError, match=r"is not emulated without its config\.json"):
        run(deployment, alike(2, 1.0), SOURCE, HOST)
