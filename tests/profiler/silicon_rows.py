"""Rows in the format of the public silicon sample, written by hand."""

from __future__ import annotations

from pathlib import Path

from servecast.profiler.silicon_points import SiliconPoint

ROW = {
    "point_id": "p-1",
    "model": "meta-llama/Llama-3.1-70B",
    "gpu": "H200-SXM-141GB",
    "engine": "vllm",
    "engine_version": "0.15.1",
    "precision": "fp8",
    "mode": "agg",
    "isl": "1024",
    "osl": "128",
    "concurrency": "4.0",
    "batch_size": "4.0",
    "tp_size": "8.0",
    "pp_size": "1.0",
    "attention_dp_size": "1.0",
    "moe_tp_size": "8.0",
    "moe_ep_size": "1.0",
    "n_gpus": "8.0",
    "date": "2026-02-03",
    "image": "vllm/vllm-openai:v0.15.1",
}


POOLS = {
    "mode": "disagg",
    "model": "deepseek-ai/DeepSeek-V3",
    "engine": "trtllm",
    "engine_version": "0.8.1.post2",
    "gpu": "GB300-288GB",
    "isl": "1024",
    "osl": "1024",
    "concurrency": "24",
    "prefill_num_workers": "1.0",
    "prefill_batch_size": "1.0",
    "prefill_tp_size": "1.0",
    "prefill_attention_dp_size": "4.0",
    "prefill_moe_ep_size": "4.0",
    "decode_num_workers": "4.0",
    "decode_batch_size": "6.0",
    "decode_tp_size": "8.0",
    "decode_moe_ep_size": "8.0",
    **dict.fromkeys(("batch_size", "tp_size", "attention_dp_size", "moe_tp_size"), ""),
}
"""What a row of two pools has in place of that: four workers of eight ranks that decode."""


def row(**cells: str) -> dict[str, str]:
    """An InferenceX row of Llama-70B on H200s, with these cells changed."""
    return {**ROW, **cells}


def point(**cells: str) -> SiliconPoint:
    """The same as a point; a blank cell is left out, as the reader does."""
    known = {name: cell for name, cell in row(**cells).items() if cell}
    return SiliconPoint.model_validate(known)


def pools(**cells: str) -> SiliconPoint:
    """A disaggregated row of DeepSeek on GB300s, with these cells changed."""
    return point(**{**POOLS, **cells})


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV file with these rows."""
    names = list(dict.fromkeys(name for each in rows for name in each))
    lines = [",".join(names), *(",".join(each.get(name, "") for name in names) for each in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
