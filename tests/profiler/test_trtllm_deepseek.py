"""What a row of DeepSeek with TensorRT-LLM was started with, by image, lengths and clients."""

from __future__ import annotations

import pytest

from servecast.profiler.silicon_points import SiliconPoint
from servecast.profiler.trtllm_deepseek import batch_wait, captures_prompts, drafts
from tests.profiler.silicon_rows import point


def row(**cells: str) -> SiliconPoint:
    known = {"model": "deepseek-ai/DeepSeek-R1", "gpu": "B200-180GB", "engine": "trtllm"}
    return point(**(known | {"osl": "1024", "engine_version": "1.2.0rc6.post2"} | cells))


@pytest.mark.parametrize(
    ("version", "date", "ranks", "drafted"),
    [
        ("1.2.0rc6.post2", "2026-02-03", "1", 0),
        ("1.2.0rc6.post3", "2026-02-06", "1", 3),
        ("1.2.0rc6.post3", "2026-02-06", "8", 1),
        ("1.1.0rc2.post2", "2025-12-15", "1", 0),
        ("1.1.0rc2.post2", "2026-01-14", "1", 3),
        ("", "2025-11-02", "1", 0),
    ],
)
def test_images_of_multi_token_prediction_draft(
    version: str, date: str, ranks: str, drafted: int
) -> None:
    assert drafts(row(engine_version=version, date=date, attention_dp_size=ranks)) == drafted


@pytest.mark.parametrize(
    ("cells", "captured"),
    [
        ({"concurrency": "63"}, False),
        ({"concurrency": "64"}, True),
        ({"concurrency": "256"}, False),
        ({"concurrency": "64", "osl": "8192"}, False),
        ({"concurrency": "128", "osl": "8192"}, True),
        ({"concurrency": "64", "engine_version": "1.1.0rc2.post2"}, False),
        ({"precision": "fp4", "moe_ep_size": "8", "concurrency": "4"}, True),
        ({"precision": "fp4", "moe_ep_size": "1", "concurrency": "64"}, False),
    ],
)
def test_prompts_are_captured_where_the_script_says_so(
    cells: dict[str, str], captured: bool
) -> None:
    assert captures_prompts(row(**cells)) is captured


def test_short_prompts_are_held_back_only_where_they_are_captured() -> None:
    wait = batch_wait(row(concurrency="64"))
    assert wait is not None
    assert (wait.batch_wait_max_tokens_ratio, wait.batch_wait_timeout_iters) == (0.8, 40)
    assert batch_wait(row(concurrency="32")) is None
    assert batch_wait(row(concurrency="64", isl="8192")) is None
    assert batch_wait(row(concurrency="64", engine_version="1.2.0rc6.post3")) is None
