"""Points are read whole or refused with every line that is wrong; blanks mean something."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.primitives import catalogue
from servecast.profiler.pool_labels import PoolLabels
from servecast.profiler.silicon_points import read_points
from tests.profiler.silicon_rows import POOLS, point, pools, row, write

MODELS = {
    "deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-R1-0528": "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-V3": "deepseek-ai/DeepSeek-V3",
    "nvidia/DeepSeek-R1-NVFP4": "nvidia/DeepSeek-R1-NVFP4",
    "nvidia/Qwen3-32B-NVFP4": "nvidia/Qwen3-32B-NVFP4",
    "openai/gpt-oss-120b": "openai/gpt-oss-120b",
    "meta-llama/Llama-3.1-70B": "meta-llama/Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B",
    "moonshotai/Kimi-K2.5": "moonshotai/Kimi-K2.5",
    "Qwen/Qwen3-32B": "Qwen/Qwen3-32B",
    "Qwen/Qwen3-235B-A22B-FP8": "Qwen/Qwen3-235B-A22B-FP8",
    "Qwen/Qwen3.5-397B-A17B": "Qwen/Qwen3.5-397B-A17B",
    "zhipuai/GLM-5": "zai-org/GLM-5",
    "MiniMaxAI/MiniMax-M2.5": "MiniMaxAI/MiniMax-M2.5",
}
GPUS = {
    "H100-SXM-80GB": "h100_sxm",
    "H200-SXM-141GB": "h200_sxm",
    "B200-180GB": "b200_sxm",
    "B300-SXM": "b300_sxm",
    "GB200-192GB": "gb200",
    "GB300-288GB": "gb300",
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_sample_has_a_name_in_the_catalogue(name: str) -> None:
    assert catalogue.model(name).name == MODELS[name]


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_of_the_sample_has_a_name_in_the_catalogue(name: str) -> None:
    assert catalogue.accelerator(name).name == GPUS[name]


def test_the_whole_development_part_is_read_and_every_name_resolves(data_dir: Path) -> None:
    points = read_points(data_dir / "groundtruth" / "silicon_dev.csv")
    assert len(points) == 2974
    for each in {(p.model, p.gpu) for p in points}:
        catalogue.model(each[0])
        catalogue.accelerator(each[1])


def test_numbers_may_have_a_decimal_point_and_blanks_are_defaults(tmp_path: Path) -> None:
    blank = {"point_id": "p-2", "attention_dp_size": "", "precision": "", "concurrency": ""}
    first, second = read_points(write(tmp_path / "a.csv", [row(), row(**blank)]))
    assert (first.concurrency, first.tp_size, first.precision) == (4, 8, "fp8")
    assert (second.attention_dp_size, second.precision, second.concurrency) == (1, None, None)


def test_without_a_concurrency_the_batch_of_all_attention_ranks_counts() -> None:
    assert point(concurrency="", batch_size="16", attention_dp_size="4").clients == 64
    assert point(concurrency="", batch_size="").clients is None


def test_a_row_with_neither_date_nor_image_is_an_own_sweep_unless_its_origin_says() -> None:
    assert not point().is_own_sweep
    assert point(date="", image="").is_own_sweep
    assert not point(date="").is_own_sweep
    assert point(origin="own-sweep/h200/x.csv").is_own_sweep
    assert not point(origin="db-dump/2026", date="", image="").is_own_sweep


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    rows = [row(isl="zero"), row(point_id="p-2"), row(point_id="p-2", engine="vlm"), row(osl="")]
    with pytest.raises(InputError) as refused:
        read_points(write(tmp_path / "a.csv", [*rows, row(point_id="p-2")]))
    message = refused.value.message
    assert "4 faults" in message
    for part in ("line 2: isl is `zero`", "line 4: engine is `vlm`", "line 5: osl", "line 6: poin"):
        assert part in message, part


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks the columns model, gpu"):
        read_points(write(tmp_path / "a.csv", [{"point_id": "1", "engine": "x", "isl": "1"}]))
    with pytest.raises(InputError, match="cannot be read"):
        read_points(tmp_path / "none.csv")


def test_pools_are_read_from_their_columns() -> None:
    found = pools()
    assert found.prefill == PoolLabels(
        num_workers=1, batch_size=1, attention_dp_size=4, moe_ep_size=4
    )
    assert found.decode == PoolLabels(num_workers=4, batch_size=6, tp_size=8, moe_ep_size=8)


def test_a_pool_without_workers_is_not_stated() -> None:
    found = pools(prefill_num_workers="")
    assert found.prefill is None
    assert found.decode is not None
    assert point().decode is None


def test_the_load_of_pools_is_the_batches_of_all_their_ranks() -> None:
    assert pools().clients == 24
    assert pools(concurrency="", decode_attention_dp_size="2").clients == 4 * 6 * 2
    assert pools(concurrency="", decode_batch_size="").clients is None


def test_a_bad_size_of_a_pool_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "points.csv", [row(**{**POOLS, "decode_tp_size": "0"})])
    with pytest.raises(InputError, match=r"decode\.tp_size is `0`"):
        read_points(path)
