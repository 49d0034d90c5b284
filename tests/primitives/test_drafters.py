"""What drafts: a model with the same tokens, or one more layer of the target."""

from __future__ import annotations

import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.catalogue import model
from servecast.primitives.drafters import eagle_head, mtp_layer, own_model
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import MoeFfn
from servecast.primitives.sharding import Sharding
from servecast.primitives.weight_memory import weight_bytes

LLAMA = model("llama-3.1-8b")
DEEPSEEK = model("deepseek-v3")


def test_a_model_of_its_own_keeps_its_checkpoints_format() -> None:
    small = model("llama-3.2-1b")
    found = own_model(LLAMA, small)
    assert (found.model, found.weights_dtype) == (small, small.weights_dtype)
    assert not found.shares_vocabulary


def test_a_model_with_other_tokens_is_refused_as_by_vllm() -> None:
    big, small = model("Qwen/Qwen2.5-72B-Instruct"), model("Qwen/Qwen2.5-0.5B-Instruct")
    with pytest.raises(InputError, match=r"151,936 tokens in its vocabulary, and .*152,064"):
        own_model(big, small)


def test_a_head_is_a_layer_like_the_targets_and_a_projection() -> None:
    head = eagle_head(LLAMA, "a head", 1).model
    layer, projection = head.layers
    assert layer.count == 1
    assert (layer.mixer, layer.ffn) == (LLAMA.layers[0].mixer, LLAMA.layers[0].ffn)
    assert projection.mixer is None
    alone = Sharding()
    of_layer = (weight_bytes(LLAMA, alone, Dtype.BF16, vocabulary=False)) // LLAMA.num_layers
    of_head = weight_bytes(head, alone, Dtype.BF16, vocabulary=False)
    assert of_head - of_layer == 2 * LLAMA.hidden**2 * 2  # embedding and state, in bytes of bf16


def test_multi_token_prediction_adds_a_layer_with_experts() -> None:
    found = mtp_layer(DEEPSEEK, Dtype.FP8)
    layer, _ = found.model.layers
    assert isinstance(layer.ffn, MoeFfn)
    assert (layer.count, found.weights_dtype, found.shares_vocabulary) == (1, Dtype.FP8, True)


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("llama-3.1-8b", InputError, "holds no layer for multi-token prediction"),
        ("MiniMaxAI/MiniMax-M2.5", UnsupportedError, "3 layers for multi-token prediction"),
        ("Qwen/Qwen3.5-35B-A3B", UnsupportedError, "mixers of 2 kinds"),
    ],
)
def test_targets_without_one_such_layer_are_refused(
    name: str, error: type[InputError], told: str
) -> None:
    with pytest.raises(error, match=told):
        mtp_layer(model(name), Dtype.BF16)


def test_a_head_on_layers_of_several_kinds_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="not all dense"):
        eagle_head(DEEPSEEK, "a head", 3)
