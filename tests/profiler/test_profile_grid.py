"""Which points are measured first: the shapes of models, over sizes far apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator
from servecast.primitives.dtype import Dtype
from servecast.primitives.table_kinds import KINDS
from servecast.profiler.model_sites import HOST, INDEXER, NARROW_EXPERTS, PICKED, STEPS
from servecast.profiler.probe import COLLECTIVES, GROWING, Probe
from servecast.profiler.probe_grid import COARSE, between, counts
from servecast.profiler.probe_setup import Backend, Setup
from servecast.profiler.probe_site import ProbeSite
from servecast.profiler.probe_work import ideal_work
from tests.profiler.probe_cases import BF16, H200, order


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


def sites(*models: str, setup: Setup = BF16) -> dict[str, list[ProbeSite]]:
    found: dict[str, list[ProbeSite]] = {}
    for site in order(*models, setup=setup).shapes.sites:
        found.setdefault(site.operation, []).append(site)
    return found


def test_every_kind_of_table_that_steps_read_is_measured_for_some_model() -> None:
    found = sites(
        "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b", setup=Setup(Dtype.BF16, processes=2)
    )
    engines_own = {"dsa_prefill_module", "dsa_decode_module", "delta_rule"}
    assert found.keys() >= KINDS.keys() - engines_own


def test_verifications_are_measured_for_plain_attention_alone() -> None:
    queries = [dict(site.sizes)["queries"] for site in sites()["verify_attention"]]
    assert queries == [2, 4, 8]
    windows = {
        dict(site.sizes)["window"] for site in sites("openai/gpt-oss-20b")["prefill_attention"]
    }
    assert windows == {0, 128}
    assert "verify_attention" not in sites("deepseek-ai/DeepSeek-V3")


def test_experts_are_routed_by_the_power_law_and_evenly() -> None:
    found = sites("openai/gpt-oss-20b")["moe"]
    assert {dict(site.traits)["distribution"] for site in found} == {"power_law_1.2", "balanced"}
    assert {dict(site.sizes)["experts_per_token"] for site in found} == {4}


def test_drafting_skips_layers_of_the_same_model() -> None:
    layers = {(dict(s.sizes)["queries"], dict(s.sizes)["layers"]) for s in sites()["model_step"]}
    assert layers == {(1, 28), (4, 28), (1, 15)}


def test_kernels_are_those_of_the_backend() -> None:
    kernels = {
        backend: {
            dict(site.traits)["kernel"]
            for site in sites("openai/gpt-oss-20b", setup=Setup(Dtype.FP32, backend))[name]
        }
        for backend, name in ((Backend.CPU, "moe"), (Backend.CUDA, "moe"))
    }
    assert kernels == {Backend.CPU: {"expert_loop"}, Backend.CUDA: {"grouped_mm"}}


def test_weights_in_fp8_leave_the_rest_in_bf16() -> None:
    found = sites(setup=Setup(Dtype.FP8))
    by_dtype = {site.dtype for name, own in found.items() for site in own if name != "gemm"}
    assert by_dtype == {Dtype.BF16}
    products = {dict(site.sizes)["n"]: site.dtype for site in found["gemm"]}
    assert products[151936] is Dtype.BF16, "the head stays wide"
    assert products[6144] is Dtype.FP8


def test_what_no_kernel_is_for_is_named_with_its_model() -> None:
    shapes = order("deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b", tensor_parallel_size=2).shapes
    assert shapes.unmeasured["all-reduce: takes 2 processes"] == (
        "deepseek-ai/DeepSeek-V3",
        "openai/gpt-oss-20b",
    )
    assert order("openai/gpt-oss-20b").shapes.unmeasured == {STEPS.reason: ("openai/gpt-oss-20b",)}
    assert set(order("deepseek-ai/DeepSeek-V3.2").shapes.unmeasured) >= {
        INDEXER.reason,
        PICKED.reason,
    }
    narrow = order("openai/gpt-oss-20b", setup=Setup(Dtype.FP8)).shapes.unmeasured
    assert NARROW_EXPERTS.reason in narrow
    assert order().shapes.unmeasured == {}


def test_a_cpu_has_no_link_to_copy_over() -> None:
    found = order(setup=Setup(Dtype.BF16, Backend.CPU)).shapes
    assert HOST.reason in found.unmeasured
    pieces = {dict(site.sizes)["pieces"] for site in sites()["host_copy"]}
    assert pieces == {1, 28}, "whole, and a layer at a time"


def test_collectives_take_several_processes() -> None:
    assert not set(sites()) & set(COLLECTIVES)
    two = sites(setup=Setup(Dtype.BF16, processes=2))
    assert set(two) >= set(COLLECTIVES)
    assert dict(two["all_reduce"][0].sizes) == {"ranks": 2}


def test_a_device_without_a_link_can_still_be_asked_for_collectives() -> None:
    cpu = accelerator("cpu_i9_13900k")
    grid = order(setup=Setup(Dtype.FP32, Backend.CPU, processes=2)).grid("")
    (probe, *_) = [each for each in grid if each.key.operation == "all_reduce"]
    sizes = {name: np.array([size], np.float64) for name, size in probe.sizes.items()}
    assert np.isfinite(ideal_work(probe.key, sizes, cpu)).all()


def test_only_what_was_asked_for_is_measured() -> None:
    asked = replace(order(), operations=frozenset({"sampling"}))
    assert {site.operation for site in asked.shapes.sites} == {"sampling"}


def test_the_ideal_work_of_every_point_grows_with_its_sizes() -> None:
    """What a call is expected to take before it is run, and what lines are straight in."""
    models = ("Qwen/Qwen3-0.6B", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V3")
    for probe in order(*models, setup=Setup(Dtype.BF16, processes=2)).grid(""):
        for name in GROWING[probe.key.operation]:
            sizes = {key: np.array([size], np.float64) for key, size in probe.sizes.items()}
            larger = {**sizes, name: sizes[name] * 2 + 1}
            here, there = (ideal_work(probe.key, own, H200)[0] for own in (sizes, larger))
            assert 0 < here <= there, probe


def test_a_verification_is_dearer_than_a_decode_and_cheaper_than_one_after_the_other() -> None:
    grid = [probe for probe in order().grid("") if probe.key.operation == "verify_attention"]
    (longest, *_) = sorted(grid, key=lambda probe: -probe.sizes["context_tokens"])
    one, four = (_work(longest, {**longest.sizes, "queries": queries}) for queries in (1, 4))
    assert one <= four < 4 * one


def _work(probe: Probe, sizes: dict[str, int]) -> float:
    at = {name: np.array([size], np.float64) for name, size in sizes.items()}
    return float(ideal_work(probe.key, at, H200)[0])


def test_the_grid_starts_with_the_small_points_of_every_shape() -> None:
    asked = order()
    grid = asked.grid("torch 1")
    first = grid[: len(asked.shapes.sites)]
    assert {probe.key.operation for probe in first} == {s.operation for s in asked.shapes.sites}
    for probe in first:
        smallest = [axis[0] for axis in COARSE[probe.key.operation]]
        assert [probe.sizes[name] for name in GROWING[probe.key.operation]] == smallest
    assert len(set(grid)) == len(grid)
    assert {probe.key.version for probe in grid} == {"torch 1"}


def test_what_a_window_hides_is_not_measured() -> None:
    seen: dict[str, set[int]] = {"prefill_attention": set(), "decode_attention": set()}
    for probe in order("openai/gpt-oss-20b").grid(""):
        if probe.sizes.get("window"):
            reach = "past_tokens" if "past_tokens" in probe.sizes else "context_tokens"
            seen[probe.key.operation].add(probe.sizes[reach])
    assert seen == {"prefill_attention": {0, 127}, "decode_attention": {16, 64, 129}}


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
