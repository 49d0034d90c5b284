"""How long the host launches a step with prompts: by kind of layer, engine and node."""

from __future__ import annotations

import pytest

from servecast.primitives import catalogue
from servecast.profiler.eager_steps import (
    COMPILED,
    DENSE_S,
    EXPERTS_S,
    MANY_KERNELS_S,
    NODES,
    eager_step_s,
)


@pytest.mark.parametrize(
    ("model", "layer_s", "layers"),
    [
        ("meta-llama/Llama-3.1-70B", DENSE_S, 80),
        ("openai/gpt-oss-120b", EXPERTS_S, 36),
        ("deepseek-ai/DeepSeek-R1", MANY_KERNELS_S, 61),
    ],
)
def test_every_layer_costs_by_its_kind(model: str, layer_s: float, layers: int) -> None:
    found = eager_step_s(catalogue.model(model), "trtllm", "b200_sxm")
    assert found == pytest.approx(layers * layer_s)


def test_a_hybrid_is_the_sum_of_its_kinds() -> None:
    """Qwen3.5-397B: 45 linear layers, 15 of plain attention, experts in all."""
    found = eager_step_s(catalogue.model("Qwen/Qwen3.5-397B-A17B"), "sglang", "b300_sxm")
    assert found == pytest.approx(45 * MANY_KERNELS_S + 15 * EXPERTS_S)


def test_compiled_pieces_take_less_and_older_nodes_more() -> None:
    llama = catalogue.model("meta-llama/Llama-3.1-70B")
    eager = eager_step_s(llama, "sglang", "b200_sxm")
    assert eager_step_s(llama, "vllm", "b200_sxm") == pytest.approx(COMPILED * eager)
    captured = eager_step_s(llama, "sglang", "b200_sxm", is_compiled=True)
    assert captured == pytest.approx(COMPILED * eager)
    assert eager_step_s(llama, "sglang", "h200_sxm") == pytest.approx(NODES["h200_sxm"] * eager)
