"""LLMServingSim's layers of vLLM 0.19, four files of kernel times in microseconds."""

from __future__ import annotations

from pathlib import Path

from servecast.primitives.cost_table import CostTable
from servecast.primitives.model import MoeFfn
from servecast.profiler.cost_rows import CostRows
from servecast.profiler.lss_parts import Origin, Part, add_products, parts, read_part_file
from servecast.profiler.lss_shapes import fused_shapes

_ORIGIN = Origin("vllm", "0.19", "time_us", 1e-6, fused_shapes)
_GRID = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")


def vllm_tables(folder: Path) -> list[CostTable]:
    """The tables of `lss_vllm019_*.csv.gz`, but for that of unequal contexts."""
    rows = CostRows("LLMServingSim lss_vllm019")

    def read(name: str, *columns: str) -> list[Part]:
        path = folder / f"lss_vllm019_{name}.csv.gz"
        return list(parts(read_part_file(path, _ORIGIN, *columns), _ORIGIN))

    for part in read("attention", *_GRID):
        _add_attention(rows, part)
    for name, size in (("dense", "tokens"), ("per_sequence", "sequences")):
        for part in read(name, "layer", size):
            for layer, own in part.split("layer"):
                _add_layer(rows, own, layer, size)
    for part in read("moe", "tokens", "activated_experts"):
        for hit, own in part.split("activated_experts"):
            _add_experts(rows, own, hit)
    return rows.tables()


def _add_attention(rows: CostRows, part: Part) -> None:
    """One prefill chunk and decoding sequences: either alone, or both in one call."""
    chunk, decoding = part.frame["prefill_chunk"] > 0, part.frame["n_decode"] > 0
    prefill, decode = part.where(chunk & ~decoding), part.where(decoding & ~chunk)
    mixed = part.where(chunk & decoding)
    rows.add(
        part.key("prefill_attention", kv="bf16"),
        (1, prefill.ints("prefill_chunk"), prefill.ints("kv_prefill"), *part.heads, part.window),
        prefill.seconds(),
    )
    rows.add(
        part.key("decode_attention", kv="bf16"),
        (decode.ints("n_decode"), decode.ints("kv_decode"), *part.heads, part.window),
        decode.seconds(),
    )
    rows.add(
        part.key("mixed_attention", kv="bf16"),
        (*(mixed.ints(name) for name in _GRID), *part.heads),
        mixed.seconds(),
    )


def _add_layer(rows: CostRows, part: Part, layer: str, size: str) -> None:
    if layer == "sampler":
        rows.add(part.key("sampling"), (part.ints(size), part.shapes.vocab), part.seconds())
    elif not add_products(rows, part, layer, size) and layer in part.shapes.widths:
        key = part.key("elementwise", layer=layer)
        rows.add(key, (part.ints(size), part.shapes.widths[layer]), part.seconds())


def _add_experts(rows: CostRows, part: Part, hit: str) -> None:
    ffn = part.model.layers[0].ffn
    if isinstance(ffn, MoeFfn):
        shape = (part.model.hidden, ffn.width, ffn.experts_per_token, ffn.experts, 1, 1)
        key = part.key("moe", activated_experts=hit)
        rows.add(key, (part.ints("tokens"), *shape), part.seconds())
