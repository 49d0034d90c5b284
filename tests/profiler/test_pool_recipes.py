"""What recipes say: how many requests a rank decodes at once, and how prompts are computed."""

from __future__ import annotations

import pytest

from servecast.profiler.point_deployment import replica_of
from servecast.profiler.pool_labels import PoolLabels
from servecast.profiler.pool_recipes import largest_batch, prompt_tokens, relabelled, started
from servecast.profiler.silicon_points import SiliconPoint
from tests.profiler.silicon_rows import point, pools


def batch(share: int, **cells: str) -> int | None:
    row = pools(**cells)
    assert row.decode is not None
    return largest_batch(row, row.decode, share)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        *((1, 1), (2, 1), (3, 2), (6, 4), (9, 8), (24, 16), (77, 64), (191, 128)),
        *((192, 192), (200, 192), (269, 256), (384, 384), (543, 512), (768, 768)),
    ],
)
def test_a_recipe_takes_the_round_number_below_its_share(share: int, expected: int) -> None:
    """As recipes are named: `ctx1_gen4_tep8_batch4_eplb0_mtp0_24` is four of six at once."""
    assert batch(share, precision="fp8") == expected


@pytest.mark.parametrize("clients", ["12", "96", "192"])
def test_a_recipe_run_against_several_loads_has_one_batch(clients: str) -> None:
    assert batch(3, precision="fp4", concurrency=clients) == 32
    assert batch(3, precision="fp8", concurrency=clients) == 2, "8-bit recipes have one load each"


def test_a_recipe_is_told_by_its_workers_too() -> None:
    cells = {"precision": "fp4", "isl": "8192", "concurrency": "5"}
    assert batch(1, decode_num_workers="5", **cells) == 4
    assert batch(1, decode_num_workers="4", **cells) == 1


@pytest.mark.parametrize(
    "cells",
    [
        {"engine": "sglang"},
        {"engine": "vllm"},
        {"gpu": "H200-SXM-141GB"},
        {"date": "", "image": ""},
    ],
)
def test_others_have_no_limit_that_is_known(cells: dict[str, str]) -> None:
    assert batch(24, **cells) is None


def tokens(ranks: int, **cells: str) -> int:
    found = point(**cells)
    return prompt_tokens(found, replica_of(found).launch, ranks)


def test_prompts_in_whole_always_fit_a_step() -> None:
    assert tokens(4, engine="trtllm", precision="fp8") == 8192
    assert tokens(4, engine="trtllm", precision="fp4") == 16384
    assert tokens(4, engine="vllm") == 16384
    assert tokens(4, engine="trtllm", precision="fp8", isl="20000") == 20000


def test_sglang_deals_its_chunk_out_over_attention_ranks() -> None:
    assert tokens(8, engine="sglang") == 8192
    assert tokens(4, engine="sglang") == 16384
    assert tokens(1, engine="sglang", isl="20000") == 8192


def kimi(**cells: str) -> SiliconPoint:
    known = {"model": "moonshotai/Kimi-K2.5", "engine": "vllm", "gpu": "GB200-192GB"}
    return pools(**{**known, **cells})


def test_vllms_labels_are_read_as_its_recipes_cut_the_ranks() -> None:
    four = PoolLabels(num_workers=1, tp_size=4, moe_ep_size=4)
    wide = PoolLabels(num_workers=1, tp_size=16, moe_ep_size=16)
    prompts = relabelled(kimi(), four, "prefill")
    assert (prompts.tp_size, prompts.attention_dp_size, prompts.moe_ep_size) == (1, 4, 4)
    assert relabelled(kimi(), four, "decode") == four
    assert relabelled(kimi(), wide, "decode").attention_dp_size == 16
    assert relabelled(kimi(engine="trtllm"), wide, "decode") == wide
    assert relabelled(kimi(date="", image=""), four, "prefill") == four


def test_vllms_prompts_are_launched_kernel_by_kernel() -> None:
    found = kimi()
    launch = replica_of(found.model_copy(update={"mode": "agg"})).launch
    assert started(found, launch, "decode") == launch
    eager = started(found, launch, "prefill").host.eager_step_s
    assert eager == pytest.approx(61 * 2.3e-3)
    assert eager > launch.host.eager_step_s
