"""How a model is cut over ranks, and which cuts are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import InputError
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    Attention,
    DeltaHeads,
    DenseFfn,
    Ffn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    ModelSpec,
    MoeFfn,
)
from servecast.primitives.sharding import Sharding, check, require

GQA = Attention(heads=64, kv_heads=8, head_dim=128)
MLA = LatentAttention(128, 1536, 512, 128, 64, 128)
EXPERTS = MoeFfn(experts=256, experts_per_token=8, width=2048, shared_width=2048)


def spec(*groups: tuple[int, Mixer | None, Ffn | None], vocab: int = 128256) -> ModelSpec:
    layers = tuple(LayerGroup(*group) for group in groups)
    return ModelSpec("toy", "Toy", 8192, vocab, False, 4096, Dtype.BF16, layers, "made up")


DENSE = spec((80, GQA, DenseFfn(28672)))
DEEPSEEK = spec((3, MLA, DenseFfn(18432)), (58, MLA, EXPERTS), vocab=129280)


def test_heads_and_widths_are_cut_over_tensor_parallel_ranks() -> None:
    sharding = Sharding(tensor_parallel_size=4)
    assert sharding.local_mixer(GQA) == Attention(heads=16, kv_heads=2, head_dim=128)
    assert sharding.local_ffn(DenseFfn(28672)) == DenseFfn(7168)


def test_kv_heads_are_copied_where_ranks_outnumber_them() -> None:
    four_heads = Attention(heads=64, kv_heads=4, head_dim=128)
    assert Sharding(tensor_parallel_size=8).local_mixer(four_heads) == Attention(8, 1, 128)
    assert [Sharding(tensor_parallel_size=tp).kv_heads(4) for tp in (1, 2, 4, 8)] == [4, 2, 1, 1]


def test_the_latent_is_copied_to_every_rank() -> None:
    local = Sharding(tensor_parallel_size=8).local_mixer(MLA)
    assert isinstance(local, LatentAttention)
    assert (local.heads, local.latent_dim) == (16, 576)


def test_a_recurrent_state_is_cut_over_tensor_parallel_ranks() -> None:
    mixer = LinearAttention(projection_params=1000, state_elements=4096)
    assert Sharding(tensor_parallel_size=4).local_mixer(mixer) == LinearAttention(250, 1024)
    heads = replace(mixer, delta=DeltaHeads(16, 64, 128, 128))
    local = Sharding(tensor_parallel_size=4).local_mixer(heads)
    assert local == LinearAttention(250, 1024, delta=DeltaHeads(4, 16, 128, 128))


@pytest.mark.parametrize(
    ("sharding", "experts", "width", "shared_width"),
    [
        (Sharding(8), 256, 256, 256),
        (Sharding(8, enable_expert_parallel=True), 32, 2048, 256),
        (Sharding(4, data_parallel_size=2), 256, 256, 512),
        (Sharding(1, data_parallel_size=8, enable_expert_parallel=True), 32, 2048, 2048),
        (Sharding(4, data_parallel_size=2, enable_expert_parallel=True), 32, 2048, 2048),
        (Sharding(3, enable_expert_parallel=True), 86, 2048, 683),
    ],
)
def test_experts_are_sliced_or_dealt_out_over_tensor_and_data_ranks(
    sharding: Sharding, experts: int, width: int, shared_width: int
) -> None:
    assert sharding.local_ffn(EXPERTS) == MoeFfn(experts, 8, width, shared_width)


def test_uneven_stages_count_the_fullest() -> None:
    assert [Sharding(1, pp).stage_layers(61) for pp in (1, 2, 3, 4)] == [61, 31, 21, 16]


def test_a_later_stage_of_deepseek_has_experts_in_every_layer() -> None:
    assert Sharding(1, 2).stage(DEEPSEEK) == (LayerGroup(31, MLA, EXPERTS),)
    assert Sharding().stage(DEEPSEEK) == DEEPSEEK.layers


def test_a_stage_of_alternating_kinds_has_its_part_of_each() -> None:
    window = Attention(16, 8, 64, window=128)
    model = spec((12, window, None), (13, GQA, None))
    assert [group.count for group in Sharding(1, 2).stage(model)] == [6, 7]


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
@pytest.mark.parametrize("model", [DENSE, DEEPSEEK], ids=["dense", "deepseek"])
def test_the_usual_sizes_are_accepted(model: ModelSpec, tp: int) -> None:
    assert check(model, Sharding(tp)) is None


@pytest.mark.parametrize(
    ("model", "sharding", "named"),
    [
        (DENSE, Sharding(3), "tensor_parallel_size 3"),
        (spec((2, Attention(40, 10, 64), None)), Sharding(4), "10 KV heads"),
        (spec((2, GQA, DenseFfn(1004))), Sharding(8), "width 1004"),
        (spec((2, GQA, MoeFfn(8, 2, 1000))), Sharding(16), "= 16"),
        (DEEPSEEK, Sharding(8, 1, 64, True), "512 expert-parallel ranks"),
        (DENSE, Sharding(8, 81), "80 layers"),
        (DENSE, Sharding(8, enable_expert_parallel=True), "no experts"),
        (spec((2, LinearAttention(64, 100), None)), Sharding(8), "100 elements"),
    ],
)
def test_what_the_engine_refuses_is_refused_by_name(
    model: ModelSpec, sharding: Sharding, named: str
) -> None:
    reason = check(model, sharding)
    assert reason is not None
    assert named in reason
    with pytest.raises(InputError, match=named):
        require(model, sharding)


def test_experts_need_not_divide_over_expert_parallel_ranks() -> None:
    model = spec((2, GQA, MoeFfn(experts=60, experts_per_token=4, width=1408)))
    assert check(model, Sharding(8, enable_expert_parallel=True)) is None


def test_the_refusal_names_the_sizes_that_fit() -> None:
    with pytest.raises(InputError) as caught:
        require(spec((2, Attention(40, 40, 64), None)), Sharding(16))
    assert caught.value.hint == "tensor_parallel_size that fits, all else equal: 1, 2, 4, 8"
    require(DENSE, Sharding(8))
