"""LLMServingSim's older layers, of PyTorch models: kernel times in nanoseconds, at every size.

An elementwise layer is what a model's code makes of it, several kernels or one, so tables of these
are for one architecture each.
"""

from __future__ import annotations

from pathlib import Path

from servecast.primitives.cost_table import CostTable
from servecast.profiler.cost_rows import CostRows
from servecast.profiler.lss_parts import Origin, Part, add_products, parts, read_part_file
from servecast.profiler.lss_shapes import single_shapes

_ORIGIN = Origin("pytorch", "lss-v0", "latency(ns)", 1e-9, single_shapes)
_FUSING = "TPU-v6e-1"
"""Its compiler fuses layers, so that a row is no one operation."""


def pytorch_tables(folder: Path) -> list[CostTable]:
    """The tables of `lss_v0_layers.csv.gz`, of GPUs."""
    rows = CostRows("LLMServingSim lss_v0_layers")
    path = folder / "lss_v0_layers.csv.gz"
    frame = read_part_file(path, _ORIGIN, "layer_name", "input", "kv_cache")
    for part in parts(frame[frame["gpu"] != _FUSING], _ORIGIN):
        for layer, own in part.split("layer_name"):
            _add_layer(rows, own, layer)
    return rows.tables()


def _add_layer(rows: CostRows, part: Part, layer: str) -> None:
    tokens = part.ints("input")
    if layer == "attn":
        rows.add(
            part.key("prefill_attention", kv="bf16"),
            (1, tokens, part.ints("kv_cache"), *part.heads, part.window),
            part.seconds(),
        )
    elif not add_products(rows, part, layer, "input") and layer in part.shapes.widths:
        key = part.key("elementwise", layer=layer, architecture=part.model.architecture)
        rows.add(key, (tokens, part.shapes.widths[layer]), part.seconds())
