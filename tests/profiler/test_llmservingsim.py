"""LLMServingSim's published tables as ours: units, shapes behind names, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.catalogue import model
from servecast.primitives.cost_table import CostTable
from servecast.profiler import import_llmservingsim
from servecast.profiler.lss_shapes import fused_shapes, single_shapes

Find = Callable[..., CostTable]


@pytest.fixture(scope="session")
def tables(data_dir: Path) -> list[CostTable]:
    return import_llmservingsim(data_dir / "kernels")


@pytest.fixture
def find(tables: list[CostTable]) -> Find:
    """The one table of an operation on a device from a source, with these traits."""

    def one(operation: str, device: str, source: str, **traits: str) -> CostTable:
        fits = [
            table
            for table in tables
            if (table.key.operation, table.key.device, table.key.source)
            == (operation, device, source)
            and traits.items() <= table.key.traits.items()
        ]
        assert len(fits) == 1, [table.key for table in fits]
        return fits[0]

    return one


def microseconds(table: CostTable, *point: int) -> float:
    """The time at a point that was measured."""
    (row,) = np.flatnonzero((table.points == point).all(axis=1))
    return float(table.seconds[row]) * 1e6


def test_products_have_the_shape_of_the_model_on_one_rank(find: Find) -> None:
    table = find("gemm", "rtx_pro_6000_server", "vllm")
    assert table.key.version == "0.19"
    assert microseconds(table, 1, 28672, 4096) == pytest.approx(159.488), "gate and up of 8B"
    assert microseconds(table, 2048, 14336, 4096) == pytest.approx(579.307), "at two ranks"
    assert microseconds(table, 1, 6144, 4096) == pytest.approx(35.8297), "queries, keys, values"


def test_the_head_counts_sequences_and_the_sampler_the_whole_vocabulary(find: Find) -> None:
    products = find("gemm", "rtx_4090", "vllm")
    assert microseconds(products, 256, 128256, 4096) == pytest.approx(1671.15)
    assert microseconds(find("sampling", "rtx_4090", "vllm"), 1, 128256) == pytest.approx(25.001)


def test_a_chunk_alone_is_prefill_with_its_past(find: Find) -> None:
    table = find("prefill_attention", "rtx_4090", "vllm", kv="bf16")
    assert microseconds(table, 1, 16, 0, 32, 8, 128, 0) == pytest.approx(9.546)
    assert microseconds(table, 1, 16, 128, 32, 8, 128, 0) == pytest.approx(13.5027)
    assert len(table) == 96


def test_decoding_alone_is_decode_and_both_are_an_operation_of_their_own(find: Find) -> None:
    decode = find("decode_attention", "rtx_4090", "vllm")
    assert microseconds(decode, 1, 16, 32, 8, 128, 0) == pytest.approx(9.31067)
    mixed = find("mixed_attention", "rtx_4090", "vllm")
    assert (len(decode), len(mixed)) == (99, 8448)
    assert (mixed.points[:, [0, 2]] > 0).all(), "a chunk and sequences in every row"


def test_decode_attention_stays_below_the_bandwidth_of_the_device(find: Find) -> None:
    table = find("decode_attention", "rtx_pro_6000_server", "vllm")
    batch, context, _, kv_heads, width, _ = table.points.T
    rate = 2 * batch * context * kv_heads * width * 2 / table.seconds
    large = batch * context > 500_000
    assert 0.5e12 < rate[large].min() < rate[large].max() < 1.8e12


def test_experts_are_told_apart_by_how_many_are_hit(find: Find) -> None:
    table = find("moe", "rtx_pro_6000_server", "vllm", activated_experts="16")
    assert microseconds(table, 2, 2048, 768, 8, 128, 1, 1) == pytest.approx(134.976)


def test_elementwise_layers_go_by_name_and_width(find: Find) -> None:
    norm = find("elementwise", "rtx_pro_6000_server", "vllm", layer="layernorm")
    assert microseconds(norm, 2048, 4096) == pytest.approx(15.7068)
    gate = find("elementwise", "rtx_pro_6000_server", "vllm", layer="act_fn")
    assert microseconds(gate, 1, 28672) == pytest.approx(2.67733)


def test_times_of_the_older_file_are_nanoseconds(find: Find) -> None:
    products = find("gemm", "h100_sxm", "pytorch")
    assert microseconds(products, 1, 128256, 4096) == pytest.approx(366.336)
    gate_and_up = (315.596 + 311.590) / 2
    assert microseconds(products, 2048, 14336, 4096) == pytest.approx(gate_and_up, rel=0.01)
    prefill = find("prefill_attention", "h100_sxm", "pytorch")
    assert microseconds(prefill, 1, 2048, 0, 32, 8, 128, 0) == pytest.approx(177.401)


def test_norms_of_different_architectures_are_not_averaged(find: Find) -> None:
    norms = [
        find("elementwise", "rtx_3090", "pytorch", layer="input_layernorm", architecture=name)
        for name in ("LlamaForCausalLM", "PhiMoEForCausalLM")
    ]
    llama, phi = (microseconds(table, 2048, 4096) for table in norms)
    assert llama > 5 * phi


def test_what_a_row_is_not_known_to_be_is_left_out(tables: list[CostTable]) -> None:
    assert "tpu_v6e" not in {table.key.device for table in tables}
    layers = {table.key.traits.get("layer") for table in tables}
    assert not layers & {"gate", "skew"}
    assert all(table.origin.startswith("LLMServingSim") for table in tables)


def test_experts_are_whole_whatever_the_ranks() -> None:
    mixtral = model("mistralai/Mixtral-8x7B-v0.1")
    for ranks in (1, 2, 4):
        shapes = single_shapes(mixtral, ranks)
        assert shapes.gemms["expert.w1"] == (14336, 4096)
        assert shapes.gemms["q_proj"] == (4096 // ranks, 4096)
        assert shapes.widths["act_fn"] == 14336


def test_fused_layers_are_the_sum_of_their_parts() -> None:
    llama = model("meta-llama/Llama-3.1-8B")
    fused, single = fused_shapes(llama, 2), single_shapes(llama, 2)
    parts = [single.gemms[name][0] for name in ("q_proj", "k_proj", "v_proj")]
    assert fused.gemms["qkv_proj"] == (sum(parts), 4096)
    assert fused.gemms["gate_up_proj"][0] == 2 * single.gemms["gate_proj"][0]


def test_models_with_layers_of_several_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="of several kinds"):
        fused_shapes(model("deepseek-ai/DeepSeek-V3"), 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lss_vllm019_attention\.csv\.gz") as caught:
        import_llmservingsim(tmp_path)
    assert "prefill_chunk" in str(caught.value.hint)
