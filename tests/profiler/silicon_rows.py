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


def row(**cells: str) -> dict[str, str]:
    """An InferenceX row of Llama-70B on H200s, with these cells changed."""
    return {**ROW, **cells}


def point(**cells: str) -> SiliconPoint:
    """The same as a point; a blank cell is left out, as the reader does."""
    known = {name: cell for name, cell in row(**cells).items() if cell}
    return SiliconPoint.model_validate(known)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV file with these rows."""
    names = list(dict.fromkeys(name for each in rows for name in each))
    lines = [",".join(names), *(",".join(each.get(name, "") for name in names) for each in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
