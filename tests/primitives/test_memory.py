"""The memory ledger: its arithmetic, its refusals, and its forecast against start-up logs."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InfeasibleError, InputError, UnsupportedError
from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger
from servecast.primitives.memory_priors import GIB, generation
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec, MoeFfn
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes
from servecast.primitives.weights import parameters

LLAMA_8B = model("meta-llama/Llama-3.1-8B")
LLAMA_70B = model("meta-llama/Llama-3.1-70B")
DEEPSEEK = model("deepseek-ai/DeepSeek-V3")
GEMMA = model("google/gemma-3-27b-it")


def device(memory_gib: float) -> Accelerator:
    link = Link("link", 1e11, 8)
    memory = int(memory_gib * GIB)
    peak = {Dtype.BF16: 1e15}
    return Accelerator("toy", "x", "gpu", memory, 1e12, peak, link, None, None, "seen", "made up")


LLAMA_ON_80_GIB = Deployment(
    model=LLAMA_8B,
    accelerator=device(79.18),
    engine="vllm",
    engine_version="0.32",
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=8192,
    max_num_seqs=256,
    max_num_batched_tokens=8192,
)


def test_the_lines_add_up_to_what_the_engine_may_use() -> None:
    book = ledger(LLAMA_ON_80_GIB)
    assert book.requested_bytes == -(-book.total_bytes * 92 // 100)
    spent = book.weights_bytes + book.non_torch_bytes
    spent += book.peak_activation_bytes + book.cuda_graph_bytes
    assert spent + book.available_kv_bytes == book.requested_bytes


def test_blocks_are_what_is_left_after_the_margin() -> None:
    book = ledger(LLAMA_ON_80_GIB)
    assert book.num_gpu_blocks == (book.available_kv_bytes - book.margin_bytes) // (16 * 131_072)
    assert book.usable_blocks == book.num_gpu_blocks - 1
    assert book.kv_tokens == book.num_gpu_blocks * 16
    assert book.max_concurrency(16_384) == book.num_gpu_blocks / 1024
    assert book.equivalent_blocks(100) == book.usable_blocks


def test_a_block_count_from_a_log_wins() -> None:
    book = ledger(replace(LLAMA_ON_80_GIB, num_gpu_blocks_override=1000))
    assert (book.num_gpu_blocks, book.usable_blocks, book.kv_tokens) == (1000, 999, 16_000)


def test_a_hybrid_is_offered_as_plain_blocks() -> None:
    book = ledger(replace(LLAMA_ON_80_GIB, model=GEMMA, tensor_parallel_size=2))
    short, long = book.equivalent_blocks(256), book.equivalent_blocks(8192)
    assert short < long < book.usable_blocks


def test_weights_that_do_not_fit_are_named_with_figures() -> None:
    book = ledger(replace(LLAMA_ON_80_GIB, model=LLAMA_70B))
    reason = book.shortfall()
    assert reason is not None
    assert reason.startswith("weights need 131.4 GiB of the 72.8 GiB that each GPU may use")
    assert book.num_gpu_blocks == book.usable_blocks == 0
    with pytest.raises(InfeasibleError, match="weights need"):
        book.require_fit()


def test_a_context_that_does_not_fit_is_answered_with_one_that_does() -> None:
    deployment = replace(
        LLAMA_ON_80_GIB, model=LLAMA_70B, tensor_parallel_size=2, max_model_len=131_072
    )
    reason = ledger(deployment).shortfall()
    assert reason is not None
    assert "max_model_len 131,072 needs 20.0 GiB" in reason
    longest = int(reason.rpartition(" ")[2])
    assert ledger(replace(deployment, max_model_len=longest)).shortfall() is None
    assert ledger(replace(deployment, max_model_len=longest + 1)).shortfall() is not None


def test_the_null_block_is_not_for_requests() -> None:
    full = replace(LLAMA_ON_80_GIB, max_model_len=160, num_gpu_blocks_override=10)
    assert not ledger(full).fits(160)
    assert ledger(full).fits(144)
    assert ledger(replace(full, num_gpu_blocks_override=11)).shortfall() is None


def test_graphs_are_subtracted_since_0_21_and_the_sampler_shrank() -> None:
    old = ledger(replace(LLAMA_ON_80_GIB, engine_version="0.11.0", max_num_seqs=1024))
    new = ledger(replace(LLAMA_ON_80_GIB, max_num_seqs=1024))
    assert old.cuda_graph_bytes == 0 < new.cuda_graph_bytes
    assert old.peak_activation_bytes > 4 * new.peak_activation_bytes
    assert generation("v0.21.3") is generation("0.32")


def test_what_is_not_modelled_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="sglang"):
        ledger(replace(LLAMA_ON_80_GIB, engine="sglang"))
    with pytest.raises(InputError, match="nightly"):
        ledger(replace(LLAMA_ON_80_GIB, engine_version="nightly"))
    with pytest.raises(InputError, match="attention heads"):
        ledger(replace(LLAMA_ON_80_GIB, tensor_parallel_size=3))


def test_embedding_head_and_router_stay_in_16_bits() -> None:
    layers = (LayerGroup(2, Attention(8, 2, 64), MoeFfn(4, 2, 256)),)
    toy = ModelSpec("toy", "Toy", 512, 1024, False, 4096, Dtype.BF16, layers, "made up")
    wide = 2 * 1024 * 512 + 2 * 512 * 4
    assert weight_bytes(toy, Sharding(), Dtype.BF16) == 2 * parameters(toy)
    assert weight_bytes(toy, Sharding(), Dtype.FP8) == parameters(toy) + wide
    mixers = 2 * 512 * 64 * (2 * 8 + 2 * 2)
    experts = parameters(toy) - wide - mixers
    assert weight_bytes(toy, Sharding(), Dtype.NVFP4) == 2 * (wide + mixers) + experts * 0.5625


def test_ranks_share_weights_but_copy_scarce_kv_heads_and_the_router() -> None:
    layers = (LayerGroup(1, Attention(8, 2, 64), MoeFfn(8, 2, 256, shared_width=256)),)
    toy = ModelSpec("toy", "Toy", 512, 1024, True, 4096, Dtype.BF16, layers, "made up")
    vocabulary, kv, router = 1024 * 512, 2 * 2 * 64 * 512, 512 * 8
    shared = parameters(toy) - kv - router
    assert weight_bytes(toy, Sharding(2), Dtype.BF16) == shared + kv + 2 * router
    assert weight_bytes(toy, Sharding(8), Dtype.BF16) == (shared // 8 + kv // 2 + router) * 2
    experts = 8 * 3 * 512 * 256
    data_parallel = Sharding(1, 1, 4, enable_expert_parallel=True)
    assert vocabulary + experts < parameters(toy)
    assert weight_bytes(toy, data_parallel, Dtype.BF16) == 2 * (parameters(toy) - experts * 3 // 4)


def test_a_stage_has_its_layers_and_one_end_of_the_vocabulary() -> None:
    half = weight_bytes(LLAMA_70B, Sharding(1, 2), Dtype.BF16)
    assert 2 * half == weight_bytes(LLAMA_70B, Sharding(), Dtype.BF16)


def test_mxfp4_experts_are_padded_to_the_kernels_tiles() -> None:
    gpt_oss = model("openai/gpt-oss-20b")
    padded = (3072 * 2944) / (2880 * 2880)
    dense = replace(gpt_oss, layers=tuple(replace(group, ffn=None) for group in gpt_oss.layers))
    router = 24 * 2880 * 32
    experts = parameters(gpt_oss) - parameters(dense) - router
    expected = 2 * (parameters(dense) + router) + experts * padded * (0.5 + 1 / 32)
    assert abs(weight_bytes(gpt_oss, Sharding(), Dtype.MXFP4) - expected) <= 1


@pytest.mark.parametrize(
    ("version", "sequences", "tokens", "peak_gib"),
    [("0.11.0", 1024, 8192, 4.76), ("0.6.3", 256, 29_000, 2.99)],
)
def test_the_peak_is_the_sampler_or_the_layers(
    version: str, sequences: int, tokens: int, peak_gib: float
) -> None:
    """Logged for Llama-8B: 1024 sequences on an H100; a batch of 29,000 tokens on a 3090."""
    deployment = replace(
        LLAMA_ON_80_GIB,
        engine_version=version,
        max_num_seqs=sequences,
        max_num_batched_tokens=tokens,
    )
    assert abs(ledger(deployment).peak_activation_bytes / GIB - peak_gib) < 0.02


@dataclass(frozen=True)
class Logged:
    """A log of a text-only model and what was run: the log states neither limit of the batch.

    They are the defaults of that release on that device: 1024 and 8192 on 80 GB of Hopper, 256 and
    2048 on small devices; vLLM before 0.8 filled a batch with one prompt of full length.
    """

    id: str
    model: str
    weights_dtype: Dtype
    version: str
    max_num_seqs: int
    max_num_batched_tokens: int


LOGGED = (
    Logged("1", "openai/gpt-oss-20b", Dtype.MXFP4, "0.11.0", 1024, 8192),
    Logged("3", "meta-llama/Llama-3.1-70B", Dtype.FP8, "0.11.0", 1024, 8192),
    Logged("6", "Qwen/Qwen3-32B", Dtype.BF16, "0.11.0", 1024, 8192),
    Logged("10", "meta-llama/Llama-3.1-8B", Dtype.BF16, "0.6", 256, 29_000),
    Logged("29", "meta-llama/Llama-3.1-8B", Dtype.BF16, "0.9", 256, 2048),
    Logged("32", "Qwen/Qwen2.5-0.5B-Instruct", Dtype.BF16, "0.30", 256, 2048),
    Logged("37", "Qwen/Qwen2.5-1.5B-Instruct", Dtype.BF16, "0.30", 256, 2048),
)


@pytest.mark.parametrize("run", LOGGED, ids=lambda run: f"{run.id}-{run.model}")
def test_the_forecast_is_on_the_safe_side_of_logs_by_about_the_margin(
    run: Logged, data_dir: Path
) -> None:
    with (data_dir / "groundtruth" / "vllm_kv_capacity_logs.csv").open(newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["id"] == run.id)
    book = ledger(
        Deployment(
            model=model(run.model),
            accelerator=device(float(row["gpu_total_gib"])),
            engine="vllm",
            engine_version=run.version,
            weights_dtype=run.weights_dtype,
            kv_cache_dtype=Dtype.BF16,
            max_model_len=int(row["max_model_len"] or 4096),
            max_num_seqs=run.max_num_seqs,
            max_num_batched_tokens=run.max_num_batched_tokens,
            tensor_parallel_size=int(row["tp"]),
            block_size=int(row["block"]),
            gpu_memory_utilization=float(row["util"]),
        )
    )
    assert abs(book.weights_bytes / GIB / float(row["weights_gib"]) - 1) < 0.04
    safe_by = float(row["avail_kv_gib"]) - (book.available_kv_bytes - book.margin_bytes) / GIB
    assert 0.6 < safe_by < 2.3


@given(
    low=st.floats(0.3, 0.99),
    more=st.floats(0, 0.69),
    tp=st.sampled_from([1, 2, 4, 8]),
    spec=st.sampled_from([LLAMA_8B, LLAMA_70B, DEEPSEEK, GEMMA]),
)
def test_more_utilisation_never_gives_fewer_blocks(
    low: float, more: float, tp: int, spec: ModelSpec
) -> None:
    deployment = replace(LLAMA_ON_80_GIB, model=spec, tensor_parallel_size=tp)
    one, two = (
        ledger(replace(deployment, gpu_memory_utilization=utilisation)).num_gpu_blocks
        for utilisation in (low, min(1.0, low + more))
    )
    assert one <= two


@given(tp=st.sampled_from([1, 2, 4]), spec=st.sampled_from([LLAMA_8B, LLAMA_70B]))
def test_more_ranks_never_hold_fewer_tokens(tp: int, spec: ModelSpec) -> None:
    deployment = replace(LLAMA_ON_80_GIB, model=spec, tensor_parallel_size=tp)
    assert (
        ledger(deployment).kv_tokens
        <= ledger(replace(deployment, tensor_parallel_size=2 * tp)).kv_tokens
    )


@given(width=st.integers(1, 64), tokens=st.integers(1, 16_384), sequences=st.integers(1, 1024))
def test_a_larger_batch_never_leaves_more_memory(width: int, tokens: int, sequences: int) -> None:
    layers = (LayerGroup(4, Attention(8, 8, 64), DenseFfn(256 * width)),)
    toy = ModelSpec("toy", "Toy", 512, 32_000, True, 4096, Dtype.BF16, layers, "made up")
    small = replace(
        LLAMA_ON_80_GIB, model=toy, max_num_seqs=sequences, max_num_batched_tokens=tokens
    )
    large = replace(small, max_num_seqs=2 * sequences, max_num_batched_tokens=2 * tokens)
    assert ledger(large).available_kv_bytes <= ledger(small).available_kv_bytes
