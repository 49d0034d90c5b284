"""Measured layers of LLMServingSim: its tables of vLLM 0.19, and the older ones of PyTorch.

Layers go by name there. With the model's dimensions most are products of known shape, attention
over known heads, or elementwise over a known width. Rules of the import:

- Attention of vLLM was timed on a grid of one prefill chunk beside decoding sequences. Rows with
  the chunk alone are prefill, with its past; rows without it are decode. Rows with both are one
  call that takes between 0.4 and 11 times the two apart, and so an operation of its own,
  `mixed_attention`.
- Experts were timed by how many of them are hit, which is a trait of the table.
- Times of the `vllm019` files are microseconds, those of `v0` nanoseconds; both are of kernels.
- Left out: unequal contexts (`skew`), which are no operation's dimension and whose times are three
  calls'; PyTorch's router, whose time is not its product's; the TPU, whose compiler fuses layers so
  that a row is no one operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_table import CostTable, TableKey, variant_of
from servecast.primitives.model import ModelSpec, MoeFfn
from servecast.profiler.cost_rows import CostRows, Floats, Ints
from servecast.profiler.lss_shapes import LayerShapes, fused_shapes, model_spec, single_shapes

if TYPE_CHECKING:
    from pandas import DataFrame

_MICROSECOND = 1e-6
_NANOSECOND = 1e-9
_FUSING = "TPU-v6e-1"
_ATTENTION = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one file for one GPU, model and number of ranks."""

    device: str
    model: ModelSpec
    shapes: LayerShapes
    frame: DataFrame
    time: str
    unit_s: float

    def ints(self, column: str) -> Ints:
        """The column's integers."""
        return self.frame[column].to_numpy("int64")

    def seconds(self) -> Floats:
        """The times, in seconds."""
        return self.frame[self.time].to_numpy("float64") * self.unit_s

    def where(self, rows: DataFrame) -> Part:
        """The same for some of its rows."""
        return Part(self.device, self.model, self.shapes, rows, self.time, self.unit_s)


def import_llmservingsim(folder: str | Path) -> list[CostTable]:
    """The tables in `lss_vllm019_*.csv.gz` and `lss_v0_layers.csv.gz` of a folder.

    InputError where a file is missing or lacks a column.
    """
    path = Path(folder).expanduser()
    return [*_vllm_tables(path), *_pytorch_tables(path)]


def _vllm_tables(folder: Path) -> list[CostTable]:
    rows = CostRows("LLMServingSim lss_vllm019")

    def parts(name: str, *columns: str) -> Iterator[Part]:
        path = folder / f"lss_vllm019_{name}.csv.gz"
        needed = ["gpu", "model", "tp", *columns, "time_us"]
        return _parts(_read(path, needed), fused_shapes, "time_us", _MICROSECOND)

    def key(part: Part, operation: str, **traits: str) -> TableKey:
        variant = variant_of(traits)
        return TableKey(operation, part.device, "bf16", "vllm", "0.19", variant)

    for part in parts("attention", *_ATTENTION):
        _add_attention(rows, part, key)
    for part in parts("dense", "layer", "tokens"):
        _add_layers(rows, part, key, "layer", "tokens")
    for part in parts("per_sequence", "layer", "sequences"):
        _add_layers(rows, part, key, "layer", "sequences")
    for part in parts("moe", "tokens", "activated_experts"):
        _add_experts(rows, part, key)
    return rows.tables()


def _pytorch_tables(folder: Path) -> list[CostTable]:
    """Layers timed one after another, all of them at every count of tokens."""
    rows = CostRows("LLMServingSim lss_v0_layers")
    time = "latency(ns)"
    columns = ["gpu", "model", "tp", "layer_name", "input", "kv_cache", time]
    frame = _read(folder / "lss_v0_layers.csv.gz", columns)

    def key(part: Part, operation: str, **traits: str) -> TableKey:
        """The file names no format; the rates of its products are those of 16-bit ones."""
        variant = variant_of(traits)
        return TableKey(operation, part.device, "bf16", "pytorch", "lss-v0", variant)

    for part in _parts(frame[frame["gpu"] != _FUSING], single_shapes, time, _NANOSECOND):
        _add_layers(rows, part, key, "layer_name", "input")
        attention = part.where(part.frame[part.frame["layer_name"] == "attn"])
        sizes = (1, attention.ints("input"), attention.ints("kv_cache"))
        columns_ = (*sizes, *_heads(part), part.shapes.attention.window or 0)
        rows.add(key(part, "prefill_attention", kv="bf16"), columns_, attention.seconds())
    return rows.tables()


Keys = Callable[..., TableKey]


def _add_attention(rows: CostRows, part: Part, key: Keys) -> None:
    chunk, decoding = part.frame["prefill_chunk"] > 0, part.frame["n_decode"] > 0
    heads, window = _heads(part), part.shapes.attention.window or 0
    prefill, decode, mixed = (
        part.where(part.frame[which])
        for which in (chunk & ~decoding, decoding & ~chunk, chunk & decoding)
    )
    sizes = (1, prefill.ints("prefill_chunk"), prefill.ints("kv_prefill"))
    rows.add(
        key(part, "prefill_attention", kv="bf16"), (*sizes, *heads, window), prefill.seconds()
    )
    sizes = (decode.ints("n_decode"), decode.ints("kv_decode"))
    rows.add(key(part, "decode_attention", kv="bf16"), (*sizes, *heads, window), decode.seconds())
    sizes = tuple(mixed.ints(name) for name in _ATTENTION)
    rows.add(key(part, "mixed_attention", kv="bf16"), (*sizes, *heads), mixed.seconds())


def _add_layers(rows: CostRows, part: Part, key: Keys, name: str, size: str) -> None:
    for layer, frame in part.frame.groupby(name, sort=True):
        own, layer = part.where(frame), str(layer)
        if layer in part.shapes.gemms:
            columns = (own.ints(size), *part.shapes.gemms[layer])
            rows.add(key(part, "gemm"), columns, own.seconds())
        elif layer in part.shapes.widths:
            columns = (own.ints(size), part.shapes.widths[layer])
            rows.add(key(part, "elementwise", layer=layer), columns, own.seconds())
        elif layer == "sampler":
            rows.add(key(part, "sampling"), (own.ints(size), part.shapes.vocab), own.seconds())


def _add_experts(rows: CostRows, part: Part, key: Keys) -> None:
    ffn = part.model.layers[0].ffn
    if not isinstance(ffn, MoeFfn):
        return
    shape = (part.model.hidden, ffn.width, ffn.experts_per_token, ffn.experts, 1, 1)
    for hit, frame in part.frame.groupby("activated_experts"):
        own = part.where(frame)
        rows.add(
            key(part, "moe", activated_experts=str(hit)),
            (own.ints("tokens"), *shape),
            own.seconds(),
        )


def _heads(part: Part) -> tuple[int, int, int]:
    attention = part.shapes.attention
    return attention.heads, attention.kv_heads, attention.head_dim


def _parts(
    frame: DataFrame, shapes: Callable[[ModelSpec, int], LayerShapes], time: str, unit_s: float
) -> Iterator[Part]:
    for (gpu, name, tp), rows in frame.groupby(["gpu", "model", "tp"]):
        model = model_spec(str(name))
        device = accelerator(str(gpu)).name
        yield Part(device, model, shapes(model, int(tp)), rows, time, unit_s)


def _read(path: Path, columns: list[str]) -> DataFrame:
    import pandas  # the only use of it here, and half a second to load

    try:
        return pandas.read_csv(path, usecols=columns)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"`{path}` cannot be read as a table of LLMServingSim: {error}",
            hint=f"its columns are {', '.join(columns)}",
        ) from error
