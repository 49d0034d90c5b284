"""Parameter counts: against the published table, against the names of models, and by their laws."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from math import floor, isclose
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.catalogue import model, models
from servecast.primitives.linear_mixers import gated_delta_net, kimi_delta, mamba2
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LinearAttention,
    Mixer,
    ModelSpec,
    MoeFfn,
)
from servecast.primitives.weights import (
    active_parameters,
    ffn_matrices,
    mixer_matrices,
    model_matrices,
    parameters,
)

TABLE_TOLERANCE = 0.005
TABLE_ROUNDING = 0.0051  # billions: the table keeps two decimals

INDEXER = "the table leaves out the indexer of sparse attention: 0.1 % of all, 2 % of the active"
ACTIVE_EXCEPTIONS = {
    "deepseek-ai/DeepSeek-V3.2": INDEXER,
    "zai-org/GLM-5": INDEXER,
    "zai-org/GLM-5.1": INDEXER,
}

NAME_TOLERANCE = 0.06
NAME_EXCEPTIONS = {
    "meta-llama/Llama-3.2-1B": "a size class: 1.24 billion",
    "meta-llama/Llama-3.2-3B": "a size class: 3.21 billion",
    "Qwen/Qwen2.5-7B-Instruct": "a size class: 7.62 billion",
    "XiaomiMiMo/MiMo-7B-Base": "a size class: 7.62 billion",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "the name states the active parameters",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": "the name states the active parameters",
}

SIZE_IN_NAME = r"(?<![\dA-Za-z.])(\d+(?:\.\d+)?)[bB](?![a-z])"

sizes = st.integers(1, 4096)


def billions(count: int) -> float:
    return count / 1e9


def agree(counted: float, published: float) -> bool:
    return isclose(counted, published, rel_tol=TABLE_TOLERANCE, abs_tol=TABLE_ROUNDING)


def stating(pattern: str) -> list[tuple[str, float]]:
    """Models whose name states a size, with that size in billions."""
    found = [(s.name, re.search(pattern, s.name.rpartition("/")[2])) for s in models()]
    return [(name, float(match[1])) for name, match in found if match]


# Against the published table ---------------------------------------------------------------------


def test_counts_of_regular_models_are_those_of_the_published_table(data_dir: Path) -> None:
    """Its active figures, as ours, count embedding and head in full (gpt-oss too)."""
    checked = 0
    with (data_dir / "models" / "model_configs.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["regular_arch"] != "True":
                continue
            spec = model(row["model"])
            total, active = float(row["params_b_est"]), float(row["active_b_est"])
            assert agree(billions(parameters(spec)), total), spec.name
            if spec.name in ACTIVE_EXCEPTIONS:
                active += billions(indexer_params(spec))
            assert agree(billions(active_parameters(spec)), active), spec.name
            checked += 1
    assert checked == 40


def indexer_params(spec: ModelSpec) -> int:
    return sum(
        count * matrix.params
        for count, matrix in model_matrices(spec)
        if matrix.name.startswith("index_")
    )


# Against the names -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stated"), stating(SIZE_IN_NAME))
def test_a_name_that_states_the_size_states_it_rightly(name: str, stated: float) -> None:
    error = billions(parameters(model(name))) / stated - 1
    assert (abs(error) <= NAME_TOLERANCE) == (name not in NAME_EXCEPTIONS), error


@pytest.mark.parametrize(("name", "stated"), stating(r"-A(\d+)B") + stating(r"-(\d+)B-\d+E"))
def test_a_name_that_states_the_active_size_rounds_it(name: str, stated: float) -> None:
    """Down or to the nearest, and some publishers leave the embedding out."""
    spec = model(name)
    with_table = billions(active_parameters(spec))
    without_table = with_table - billions(spec.vocab * spec.hidden)
    assert stated in {f(size) for f in (round, floor) for size in (with_table, without_table)}


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("XiaomiMiMo/MiMo-V2-Flash", 309, 15.4),  # announced as 309 and 15
        ("openai/gpt-oss-120b", 116.8, 5.71),  # announced as 117 and 5.1, embedding left out
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 400.7, 17.2),  # announced as 400 and 17
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", 49.9, 49.9),
    ],
)
def test_irregular_models_come_out_at_what_was_announced(
    name: str, total: float, active: float
) -> None:
    spec = model(name)
    assert agree(billions(parameters(spec)), total)
    assert agree(billions(active_parameters(spec)), active)


# Matrix by matrix --------------------------------------------------------------------------------


def mixer_params(mixer: Mixer, hidden: int) -> int:
    """Weights of one mixer."""
    return sum(matrix.params for matrix in mixer_matrices(mixer, hidden))


def ffn_params(ffn: Ffn, hidden: int) -> int:
    """Weights of one feed-forward layer, all experts included."""
    return sum(matrix.params for matrix in ffn_matrices(ffn, hidden))


def test_grouped_attention_has_four_matrices() -> None:
    found = {m.name: (m.k, m.n) for m in mixer_matrices(Attention(32, 8, 128), 4096)}
    assert found == {"q": (4096, 4096), "k": (4096, 1024), "v": (4096, 1024), "o": (4096, 4096)}


def test_an_output_gate_doubles_the_query_projection_alone() -> None:
    plain, gated = Attention(32, 2, 256), Attention(32, 2, 256, output_gate=True)
    assert mixer_params(gated, 4096) - mixer_params(plain, 4096) == 4096 * 32 * 256


def test_latent_attention_of_deepseek_v3() -> None:
    mixer = LatentAttention(128, 1536, 512, 128, 64, 128)
    query = 7168 * 1536 + 1536 * 128 * 192
    cached = 7168 * 576 + 512 * 128 * 256
    assert mixer_params(mixer, 7168) == query + cached + 128 * 128 * 7168


def test_an_indexer_adds_its_projections_where_the_layer_has_one() -> None:
    shared = LatentAttention(64, 2048, 512, 192, 64, 256, index_topk=2048)
    own = replace(shared, index_heads=32, index_head_dim=128)
    added = 2048 * 32 * 128 + 6144 * 128 + 6144 * 32
    assert mixer_params(own, 6144) - mixer_params(shared, 6144) == added


def test_recurrent_mixers_by_hand() -> None:
    delta = gated_delta_net(
        4096, key_heads=16, value_heads=64, key_dim=128, value_dim=128, kernel=4
    )
    # query, key, value; gate; two scalars per head; convolution; projection back
    assert delta.projection_params == (
        4096 * (2048 + 2048 + 8192) + 4096 * 8192 + 4096 * 128 + 12288 * 4 + 8192 * 4096
    )
    assert delta.state_bytes == 2 * (64 * 128 * 128 + 12288 * 3)
    mamba = mamba2(4096, heads=128, head_dim=64, groups=8, state=128, kernel=4)
    # gate, input and maps, step sizes; convolution with bias; projection back
    assert mamba.projection_params == 4096 * (8192 + 10240 + 128) + 10240 * 5 + 8192 * 4096
    assert mamba.state_bytes == 4 * 8192 * 128 + 2 * 10240 * 3
    kimi = kimi_delta(7168, heads=96, head_dim=128, kernel=4)
    assert kimi.state_bytes == 4 * 96 * 128 * 128 + 2 * 3 * 12288 * 3
    assert mixer_params(kimi, 7168) == kimi.projection_params


def test_experts_may_work_in_a_latent_narrower_than_the_model() -> None:
    """Nemotron-3-Super: without its latent of 1024 the model would have four times its experts."""
    ffn = MoeFfn(512, 22, 2688, shared_width=5376, gated=False, latent_width=1024)
    routed, shared = 512 * 2 * 1024 * 2688, 2 * 4096 * 5376
    assert ffn_params(ffn, 4096) == routed + shared + 2 * 4096 * 1024 + 4096 * 512


# Laws --------------------------------------------------------------------------------------------


@given(hidden=sizes, width=sizes, gated=st.booleans())
def test_one_expert_is_an_mlp_with_a_router(hidden: int, width: int, gated: bool) -> None:
    expert, dense = MoeFfn(1, 1, width, gated=gated), DenseFfn(width, gated)
    assert ffn_params(expert, hidden) == ffn_params(dense, hidden) + hidden


@given(experts=st.integers(2, 64), hidden=sizes, width=sizes, shared=st.integers(0, 512))
def test_a_token_that_visits_every_expert_meets_every_weight(
    experts: int, hidden: int, width: int, shared: int
) -> None:
    few, every = MoeFfn(experts, 1, width, shared), MoeFfn(experts, experts, width, shared)
    active = [sum(m.active_params for m in ffn_matrices(ffn, hidden)) for ffn in (few, every)]
    assert active[0] < active[1] == ffn_params(few, hidden) == ffn_params(every, hidden)


@given(params=sizes, hidden=sizes)
def test_a_recurrent_mixer_counts_as_stated(params: int, hidden: int) -> None:
    assert mixer_params(LinearAttention(params, 1), hidden) == params


@pytest.mark.parametrize("spec", models(), ids=lambda spec: spec.name)
def test_active_weights_are_a_part_of_all_and_tied_ones_count_once(spec: ModelSpec) -> None:
    routed = any(isinstance(group.ffn, MoeFfn) for group in spec.layers)
    assert (active_parameters(spec) < parameters(spec)) == routed
    other = replace(spec, tie_embeddings=not spec.tie_embeddings)
    assert abs(parameters(spec) - parameters(other)) == spec.vocab * spec.hidden
