"""Which points are measured first: the shapes of models, over sizes far apart."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.profiler.probe import GROWING
from servecast.profiler.probe_grid import COARSE, between, counts
from servecast.profiler.probe_sites import ALL_REDUCE, EXPERTS, LATENT, WINDOW
from tests.profiler.probe_cases import order


def gemms(*models: str, tensor_parallel_size: int = 1) -> set[tuple[int, int]]:
    shapes = order(*models, tensor_parallel_size=tensor_parallel_size).shapes
    own = (dict(site.sizes) for site in shapes.sites if site.operation == "gemm")
    return {(sizes["n"], sizes["k"]) for sizes in own}


def test_products_are_those_of_the_model() -> None:
    assert gemms("Qwen/Qwen3-0.6B") == {
        (4096, 1024),  # 16 query and 2 × 8 KV heads of 128
        (1024, 2048),
        (6144, 1024),  # gate and up
        (1024, 3072),
        (151936, 1024),
    }


def test_a_rank_has_its_part_of_every_product() -> None:
    assert (2048, 1024) in gemms("Qwen/Qwen3-0.6B", tensor_parallel_size=2)
    assert (75968, 1024) in gemms("Qwen/Qwen3-0.6B", tensor_parallel_size=2)


def test_what_models_share_is_measured_once() -> None:
    one, both = order("Qwen/Qwen3-8B"), order("Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B")
    attention = [site for site in both.shapes.sites if site.operation == "decode_attention"]
    assert len(attention) == 1, "32 heads and 8 KV heads of 128 in both"
    assert len(one.grid("")) < len(both.grid("")) < 2 * len(one.grid(""))


def test_a_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="tensor_parallel_size 3"):
        assert order(tensor_parallel_size=3).shapes


def test_what_no_kernel_is_for_is_named_with_its_model() -> None:
    shapes = order("deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b", tensor_parallel_size=2).shapes
    assert shapes.unmeasured[LATENT] == ("deepseek-ai/DeepSeek-V3",)
    assert shapes.unmeasured[WINDOW] == ("openai/gpt-oss-20b",)
    assert set(shapes.unmeasured) >= {EXPERTS, ALL_REDUCE}
    assert order().shapes.unmeasured == {}


def test_the_grid_starts_with_the_small_points_of_every_shape() -> None:
    asked = order()
    grid = asked.grid("torch 1")
    first = grid[: len(asked.shapes.sites)]
    assert {probe.key.operation for probe in first} == set(GROWING)
    for probe in first:
        smallest = [axis[0] for axis in COARSE[probe.key.operation]]
        assert [probe.sizes[name] for name in GROWING[probe.key.operation]] == smallest
    assert len(set(grid)) == len(grid)
    assert {probe.key.version for probe in grid} == {"torch 1"}


def test_counts_are_of_shapes_and_points() -> None:
    found = counts(order().grid(""))
    assert found["gemm"] == (5, 40)
    assert found["decode_attention"] == (1, 20)
    assert found["elementwise"] == (2, 10), "the norm and the gate have tables of their own"


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [(64, 256, 128), (1, 4, 2), (0, 2048, 512), (16, 64, 32), (100, 120, None), (0, 64, None)],
)
def test_between_two_sizes_lies_a_round_one_until_they_are_near(
    low: int, high: int, middle: int | None
) -> None:
    assert between(low, high) == middle


def test_halving_ends() -> None:
    high, steps = 16384, 0
    while (middle := between(1024, high)) is not None:
        assert 1024 < middle < high
        high, steps = middle, steps + 1
    assert steps < 10
