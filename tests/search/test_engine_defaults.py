"""What vLLM does when nothing is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.dtype import Dtype
from servecast.search.engine_defaults import defaults, engine_release

GIB = 2**30


def accelerator(name: str, memory_gib: float, vendor: str = "NVIDIA") -> Accelerator:
    return Accelerator(
        name=name,
        vendor=vendor,
        kind="datacenter",
        memory_bytes=int(memory_gib * GIB),
        bw_bytes_per_s=1e12,
        flops={Dtype.BF16: 1e15},
        link=Link("nvlink", 1e11, 8),
        tdp_w=None,
        usd_per_hour=None,
        confidence="guess",
        source="test",
    )


DEVICES = [
    ("l4", 22.0, 256, 2048),
    ("a100_sxm_80gb", 79.3, 256, 2048),
    ("h100_sxm", 79.1, 1024, 8192),
    ("h200_sxm", 139.8, 1024, 8192),
    ("b200_sxm", 178.4, 1024, 16384),
    ("mi300x", 191.98, 1024, 16384),
]


@pytest.mark.parametrize(("name", "memory_gib", "seqs", "tokens"), DEVICES)
def test_batch_limits_follow_device_memory_and_spare_the_a100(
    name: str, memory_gib: float, seqs: int, tokens: int
) -> None:
    found = defaults("vllm", "0.32", accelerator(name, memory_gib))
    assert (found.max_num_seqs, found.max_num_batched_tokens) == (seqs, tokens)


def test_the_features_that_are_on_by_default_are_stated() -> None:
    found = defaults("vllm", "0.32", accelerator("h100_sxm", 79.1))
    assert (found.enable_prefix_caching, found.async_scheduling) == (True, True)
    assert (found.gpu_memory_utilization, found.block_size) == (0.92, 16)
    assert found.release in found.source


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize(("name", "memory_gib", "seqs", "tokens"), DEVICES)
def test_the_engine_itself_says_the_same(
    name: str, memory_gib: float, seqs: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = pytest.importorskip("vllm.engine.arg_utils")
    usage = pytest.importorskip("vllm.usage.usage_lib").UsageContext.OPENAI_API_SERVER
    platform = engine.current_platform
    monkeypatch.setattr(platform, "get_device_total_memory", lambda: int(memory_gib * GIB), False)
    monkeypatch.setattr(platform, "get_device_name", lambda: name, False)
    monkeypatch.setattr(platform, "is_cpu", lambda: False, False)
    batched_tokens, sequences = engine.EngineArgs.get_batch_defaults(1)
    assert (sequences[usage], batched_tokens[usage]) == (seqs, tokens)


def test_the_default_budget_holds_no_more_than_the_sequences_can_fill() -> None:
    found = defaults("vllm", "0.32", accelerator("h100_sxm", 79.1))
    limits = found.limits(max_model_len=100, max_num_seqs=4)
    assert limits.max_num_batched_tokens == 400


def test_the_default_number_of_sequences_is_cut_to_the_budget() -> None:
    found = defaults("vllm", "0.32", accelerator("h100_sxm", 79.1))
    assert found.limits(max_model_len=4096, max_num_batched_tokens=512).max_num_seqs == 512


def test_without_chunked_prefill_the_default_budget_holds_the_longest_prompt() -> None:
    found = defaults("vllm", "0.32", accelerator("h100_sxm", 79.1))
    limits = found.limits(max_model_len=32768, enable_chunked_prefill=False)
    assert limits.max_num_batched_tokens == 32768


def test_limits_that_vllm_refuses_are_refused() -> None:
    found = defaults("vllm", "0.32", accelerator("h100_sxm", 79.1))
    with pytest.raises(InputError, match="max_num_batched_tokens 64 must not be below max_num_se"):
        found.limits(max_model_len=4096, max_num_seqs=128, max_num_batched_tokens=64)
    with pytest.raises(InputError, match="below max_model_len 4096 without chunked prefill"):
        found.limits(max_model_len=4096, max_num_batched_tokens=2048, enable_chunked_prefill=False)


@given(
    max_model_len=st.integers(1, 10**6),
    seqs=st.none() | st.integers(1, 4096),
    tokens=st.none() | st.integers(4096, 10**5),
)
def test_what_is_set_is_kept_and_the_budget_holds_every_sequence(
    max_model_len: int, seqs: int | None, tokens: int | None
) -> None:
    found = defaults("vllm", "0.32", accelerator("h100_sxm", 79.1))
    limits = found.limits(
        max_model_len=max_model_len, max_num_seqs=seqs, max_num_batched_tokens=tokens
    )
    assert limits.max_num_batched_tokens >= limits.max_num_seqs
    assert seqs in (None, limits.max_num_seqs)
    assert tokens in (None, limits.max_num_batched_tokens)


@pytest.mark.parametrize("version", ["0.32", "0.32.0", "v0.32.0"])
def test_a_version_has_one_release(version: str) -> None:
    assert engine_release("vllm", version) == "0.32.0"


def test_what_was_not_checked_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"vLLM 0\.9\.1 .*\n  known: 0\.32") as version:
        engine_release("vllm", "0.9.1")
    assert version.value.hint is not None
    assert "0.32" in version.value.hint
    with pytest.raises(UnsupportedError, match="engine `sglang` is not simulated yet"):
        engine_release("sglang", "0.5")
    with pytest.raises(UnsupportedError, match=r"defaults on `v5e` \(Google\)"):
        defaults("vllm", "0.32", accelerator("v5e", 16, vendor="Google"))
