"""Groups, families, odd rows and samples of the development part."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.development_part import by_group, family_of, group_of, is_set_aside, sample
from servecast.profiler.measured_points import Measured, read_measured
from tests.profiler.silicon_rows import point


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("meta-llama/Llama-3.1-70B", "dense"),
        ("openai/gpt-oss-120b", "gpt-oss, MiniMax"),
        ("deepseek-ai/DeepSeek-V3", "DeepSeek"),
        ("moonshotai/Kimi-K2.5", "Kimi, Qwen3.5, GLM-5"),
    ],
)
def test_families(model: str, family: str) -> None:
    assert family_of(point(model=model)) == family


def test_one_architecture_under_several_names_is_one_group() -> None:
    names = ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3", "nvidia/DeepSeek-R1-NVFP4")
    assert {group_of(point(model=name)) for name in names} == {"DeepSeek H200 vllm"}
    assert group_of(point()) != group_of(point(engine="sglang"))


def test_odd_rows() -> None:
    h100 = {"model": "openai/gpt-oss-120b", "gpu": "H100-SXM-80GB"}
    assert is_set_aside(point(**h100, concurrency="512"))
    assert not is_set_aside(point(**h100, concurrency="256"))
    assert is_set_aside(point(**h100, engine="trtllm"))
    assert is_set_aside(point(model="Qwen/Qwen3-235B-A22B-FP8"))
    assert not is_set_aside(point())


def test_a_sample_has_rows_of_every_group_spread_over_loads() -> None:
    rows = [
        Measured(point(point_id=f"{engine}{load}", engine=engine, concurrency=str(load)), {})
        for engine, most in (("vllm", 40), ("sglang", 3))
        for load in range(1, most + 1)
    ]
    found = by_group(sample(rows, 4))
    assert {name: len(own) for name, own in found.items()} == {
        "Llama-3.1-70B H200 sglang": 3,
        "Llama-3.1-70B H200 vllm": 4,
    }
    loads = [row.point.clients or 0 for row in found["Llama-3.1-70B H200 vllm"]]
    assert loads == sorted(set(loads))
    assert loads[0] <= 10 < 30 < loads[-1]


def test_odd_rows_of_the_development_part_are_65(data_dir: Path) -> None:
    rows = read_measured(data_dir / "groundtruth" / "silicon_dev.csv")
    assert sum(is_set_aside(row.point) for row in rows if row.point.mode == "agg") == 65
