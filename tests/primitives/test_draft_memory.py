"""What drafts take of a GPU's memory: their weights, and their part of every KV block."""

from __future__ import annotations

import dataclasses

from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafters import eagle_head, mtp_layer, own_model
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.speculation import DraftModel, Method, Speculation

LLAMA, SMALL = model("llama-3.1-70b"), model("llama-3.2-1b")
PLAIN = Deployment(
    model=LLAMA,
    accelerator=accelerator("h100_sxm"),
    engine="vllm",
    engine_version="0.32",
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=8192,
    max_num_seqs=64,
    max_num_batched_tokens=2048,
    tensor_parallel_size=4,
)


def drafted(plain: Deployment, method: Method, draft: DraftModel | None) -> Ledger:
    return ledger(dataclasses.replace(plain, speculation=Speculation(method, 1, (0.5,), draft)))


def test_a_lookup_takes_nothing() -> None:
    assert drafted(PLAIN, "ngram", None) == ledger(PLAIN)


def test_a_draft_model_takes_its_weights_and_a_page_of_each_layer_in_every_block() -> None:
    found, plain = drafted(PLAIN, "draft_model", own_model(LLAMA, SMALL)), ledger(PLAIN)
    alone = ledger(dataclasses.replace(PLAIN, model=SMALL))
    assert found.draft_weights_bytes == alone.weights_bytes
    assert found.weights_bytes == plain.weights_bytes
    assert found.available_kv_bytes == plain.available_kv_bytes - alone.weights_bytes
    pages = plain.geometry.bytes_per_block + alone.geometry.bytes_per_block
    assert found.geometry.bytes_per_block == pages
    assert found.num_gpu_blocks < plain.num_gpu_blocks
    assert found.geometry.is_uniform


def test_a_head_takes_a_layer_and_no_vocabulary() -> None:
    found, plain = drafted(PLAIN, "eagle3", eagle_head(LLAMA, "a head", 3)), ledger(PLAIN)
    layer_bytes = plain.geometry.bytes_per_block // LLAMA.num_layers
    assert found.geometry.bytes_per_block == plain.geometry.bytes_per_block + layer_bytes
    assert 0 < found.draft_weights_bytes < 2 * plain.weights_bytes // LLAMA.num_layers


def test_a_layer_that_predicts_several_tokens_caches_a_latent_more() -> None:
    deepseek = model("deepseek-v3")
    served = dataclasses.replace(
        PLAIN,
        model=deepseek,
        accelerator=accelerator("h200_sxm"),
        weights_dtype=Dtype.FP8,
        tensor_parallel_size=8,
    )
    found, plain = drafted(served, "mtp", mtp_layer(deepseek, Dtype.FP8)), ledger(served)
    assert found.geometry.bytes_per_block * 61 == plain.geometry.bytes_per_block * 62


def test_a_draft_that_leaves_no_room_is_in_the_reason() -> None:
    one = dataclasses.replace(PLAIN, tensor_parallel_size=2)
    reason = drafted(one, "draft_model", DraftModel(LLAMA, Dtype.BF16)).shortfall()
    both = 2 * ledger(one).weights_bytes / 2**30
    assert reason is not None
    assert f"weights need {both:.1f} GiB" in reason
