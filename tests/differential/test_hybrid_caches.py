"""The caches of the catalogue's hybrids, as vLLM cuts them for its own model classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace

import pytest

from servecast.primitives.catalogue import model, models
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, kv_cache_geometry
from servecast.primitives.model import Attention, LinearAttention, ModelSpec
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes
from servecast.timewarp.foreign import foreign
from tests.meta_models import MEMORY, built

pytestmark = pytest.mark.engine(name="vllm")

NEXT = "Qwen/Qwen3-Next-80B-A3B-Instruct"
QWEN = [
    "Qwen/Qwen3.5-27B",
    "Qwen/Qwen3.5-35B-A3B",
    "Qwen/Qwen3.5-122B-A10B",
    "Qwen/Qwen3.5-397B-A17B",
]
NEMOTRON = {
    "nvidia/Nemotron-H-56B-Base-8K": (256, 256),
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": (64, 128),
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8": (128, 128),
    "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16": (256, 128),
}
"""Mamba heads and state of each; all have heads of 64 and 8 groups."""
KIMI = "moonshotai/Kimi-K3"


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")
    pytest.importorskip("compressed_tensors")


def mixers(spec: ModelSpec) -> tuple[int, int, Attention]:
    """Recurrent layers, attention layers, and what these are."""
    recurrent = sum(g.count for g in spec.layers if isinstance(g.mixer, LinearAttention))
    ((count, attention),) = [
        (group.count, group.mixer) for group in spec.layers if isinstance(group.mixer, Attention)
    ]
    return recurrent, count, attention


def written(spec: ModelSpec, folder: Path, keys: Mapping[str, object]) -> ModelSpec:
    """The model with a `config.json` of vLLM's own, whose feed-forward parts are small ones."""
    _, _, attention = mixers(spec)
    own: dict[str, object] = {
        "hidden_size": spec.hidden,
        "vocab_size": 4096,
        "max_position_embeddings": spec.max_model_len,
        "torch_dtype": "bfloat16",
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads,
        "head_dim": attention.head_dim,
        "intermediate_size": 256,
    }
    file = folder / "config.json"
    file.write_text(json.dumps({**own, **keys}), encoding="utf-8")
    return replace(spec, source=str(file))


def nemotron(name: str, folder: Path) -> ModelSpec:
    spec = model(name)
    recurrent, attention, _ = mixers(spec)
    heads, state = NEMOTRON[name]
    keys = {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "num_hidden_layers": recurrent + attention,
        "hybrid_override_pattern": "M" * recurrent + "*" * attention,
        "mamba_num_heads": heads,
        "mamba_head_dim": 64,
        "n_groups": 8,
        "ssm_state_size": state,
        "conv_kernel": 4,
    }
    return written(spec, folder, keys)


def qwen(name: str, folder: Path) -> ModelSpec:
    """Qwen3.5 by the class of Qwen3-Next, which has the same mixers."""
    spec = model(name)
    recurrent, attention, _ = mixers(spec)
    heads = next(g.mixer.delta for g in spec.layers if isinstance(g.mixer, LinearAttention))
    assert heads is not None
    kinds = cycle([*["linear_attention"] * 3, "full_attention"])
    keys = {
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        "num_hidden_layers": recurrent + attention,
        "layer_types": list(islice(kinds, recurrent + attention)),
        "linear_num_key_heads": heads.key_heads,
        "linear_num_value_heads": heads.value_heads,
        "linear_key_head_dim": heads.key_dim,
        "linear_value_head_dim": heads.value_dim,
        "linear_conv_kernel_dim": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 256,
        "shared_expert_intermediate_size": 256,
    }
    return written(spec, folder, keys)


def ours(name: str, ranks: int, *, caching: bool) -> KvCacheGeometry:
    return kv_cache_geometry(
        model(name),
        Sharding(ranks),
        Dtype.BF16,
        enable_prefix_caching=caching,
    )


def agree(name: str, spec: ModelSpec, ranks: int, *options: str) -> None:
    """Raise unless vLLM and the arithmetic cut the same groups, blocks and requests."""
    for caching in (False, True):
        switch = "--enable-prefix-caching" if caching else "--no-enable-prefix-caching"
        theirs = built(spec, ranks, switch, *options)
        geometry = ours(name, ranks, caching=caching)
        kinds = {"MambaSpec": "state", "FullAttentionSpec": "full"}
        assert [(kinds[kind], layers) for kind, layers in theirs.groups] == [
            (group.kind, group.layers) for group in geometry.groups
        ]
        full = [g.block_tokens for g in geometry.groups if g.kind == "full" or caching]
        assert [s for s in theirs.block_sizes if s != 2048 or caching] == full
        assert theirs.num_blocks == geometry.num_blocks(MEMORY)
        assert theirs.concurrency == geometry.max_concurrency(theirs.num_blocks, 2048)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_qwen3_next_keeps_its_states_as_activations(ranks: int) -> None:
    agree(NEXT, model(NEXT), ranks)


def test_the_weights_of_qwen3_next() -> None:
    counted = weight_bytes(model(NEXT), Sharding(1), Dtype.BF16)
    theirs = built(model(NEXT), 1).model.parameter_bytes
    assert counted == pytest.approx(theirs, rel=0.0001)


@pytest.mark.parametrize("name", QWEN)
@pytest.mark.parametrize("ranks", [1, 8])
def test_qwen3_5_keeps_them_in_fp32(tmp_path: Path, name: str, ranks: int) -> None:
    agree(name, qwen(name, tmp_path), ranks, "--mamba-ssm-cache-dtype", "float32")


def test_qwen3_5_says_so_in_its_own_file() -> None:
    rule = foreign("vllm.model_executor.models.config").Qwen3_5ForConditionalGenerationConfig
    cache = SimpleNamespace(mamba_ssm_cache_dtype="auto")
    text = SimpleNamespace(mamba_ssm_dtype="float32")
    rule.verify_and_update_config(
        SimpleNamespace(cache_config=cache, model_config=SimpleNamespace(hf_text_config=text))
    )
    assert cache.mamba_ssm_cache_dtype == "float32"


@pytest.mark.parametrize("name", NEMOTRON)
@pytest.mark.parametrize("ranks", [1, 8])
def test_nemotron_keeps_mamba_in_fp32_and_its_convolution_as_activations(
    tmp_path: Path, name: str, ranks: int
) -> None:
    agree(name, nemotron(name, tmp_path), ranks)


@pytest.mark.parametrize("ranks", [1, 8])
def test_kimi_keeps_its_delta_in_fp32_and_its_convolution_as_activations(ranks: int) -> None:
    """By vLLM's calculators: its class takes kernels of the device."""
    utilities = foreign("vllm.model_executor.layers.mamba.mamba_utils")
    torch = foreign("torch")
    state = foreign("vllm.v1.kv_cache_interface").MambaSpec(
        block_size=2048,
        shapes=utilities.MambaStateShapeCalculator.kda_state_shape(ranks, 96, 128),
        dtypes=utilities.MambaStateDtypeCalculator.kda_state_dtype(torch.bfloat16, "auto"),
    )
    (mixer,) = {g.mixer for g in model(KIMI).layers if isinstance(g.mixer, LinearAttention)}
    assert state.page_size_bytes * ranks == mixer.state_bytes


def test_these_are_all_hybrids_of_the_catalogue() -> None:
    found = {
        s.name for s in models() if any(isinstance(g.mixer, LinearAttention) for g in s.layers)
    }
    assert found == {NEXT, *QWEN, *NEMOTRON, KIMI}
