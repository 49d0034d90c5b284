"""The KV blocks that a GPU gives transformers, beside its own computation of them."""

from __future__ import annotations

from typing import Any

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives import catalogue
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import kv_cache_geometry
from servecast.primitives.model import ModelSpec
from servecast.primitives.sharding import Sharding
from servecast.search.transformers_defaults import MAX_BATCH_TOKENS, PAGE_SIZE, num_blocks
from servecast.timewarp.foreign import foreign
from tests.toy_deployments import WINDOWED

LLAMA = catalogue.model("meta-llama/Llama-3.1-8B-Instruct")
H100 = catalogue.accelerator("h100_sxm")
WEIGHTS = 16_060_000_000


def blocks(model: ModelSpec, *, page_size: int = PAGE_SIZE, tokens: int = MAX_BATCH_TOKENS) -> int:
    return num_blocks(
        model,
        kv_cache_geometry(model, Sharding(), Dtype.BF16, block_size=page_size),
        H100,
        weights_bytes=WEIGHTS,
        memory_share=0.9,
        max_batch_tokens=tokens,
    )


def test_a_larger_step_leaves_fewer_blocks_and_smaller_pages_more() -> None:
    assert blocks(LLAMA, tokens=65536) < blocks(LLAMA)
    assert blocks(LLAMA, page_size=128) >= 2 * blocks(LLAMA)


def test_other_layers_than_full_attention_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="full attention; `toy` has others"):
        blocks(WINDOWED.model)


def available(_: object) -> int:
    return int(0.9 * (H100.memory_bytes - WEIGHTS))


@pytest.mark.engine(name="transformers")
@pytest.mark.parametrize(("page_size", "tokens"), [(256, 8192), (16, 2048), (64, 32768)])
def test_they_are_those_that_transformers_finds(
    page_size: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers: Any = pytest.importorskip("transformers")
    cache = foreign("transformers.generation.continuous_batching.cache")
    handler = cache.PagedAttentionMemoryHandler
    monkeypatch.setattr(handler, "get_available_memory", available)
    config = transformers.LlamaConfig(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    config._attn_implementation = "flash_attention_2"
    batching = transformers.ContinuousBatchingConfig(
        page_size=page_size, max_batch_tokens=tokens, use_async_batching=False
    )
    each = kv_cache_geometry(LLAMA, Sharding(), Dtype.BF16, block_size=page_size).bytes_per_block
    theirs = handler(
        config, batching, foreign("torch").bfloat16, each, page_size, each, ["full_attention"], True
    )
    found_tokens, sectors = theirs.infer_max_batch_tokens_and_num_sectors()
    assert found_tokens == tokens
    assert sectors == blocks(LLAMA, page_size=page_size, tokens=tokens)
