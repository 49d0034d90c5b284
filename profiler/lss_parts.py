"""Parts of LLMServingSim's files: the rows of one GPU, model and number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_table import TableKey, variant_of
from servecast.primitives.model import ModelSpec
from servecast.profiler.cost_rows import CostRows, Floats, Ints
from servecast.profiler.lss_shapes import LayerShapes, model_spec

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose layers a file has, and how it states their times."""

    source: str
    version: str
    time_column: str
    unit_s: float
    shapes: Callable[[ModelSpec, int], LayerShapes]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one file for one GPU, model and number of ranks."""

    origin: Origin
    device: str
    model: ModelSpec
    shapes: LayerShapes
    frame: DataFrame

    def key(self, operation: str, **traits: str) -> TableKey:
        """The key of the table that rows of this operation belong to.

        PyTorch's file names no number format; the rates of its products are those of 16-bit ones.
        """
        source, version = self.origin.source, self.origin.version
        return TableKey(operation, self.device, "bf16", source, version, variant_of(traits))

    def ints(self, column: str) -> Ints:
        """The column's integers."""
        return self.frame[column].to_numpy("int64")

    def seconds(self) -> Floats:
        """The times, in seconds."""
        return self.frame[self.origin.time_column].to_numpy("float64") * self.origin.unit_s

    def where(self, which: Series[bool]) -> Part:
        """The same for the rows that `which` says."""
        return replace(self, frame=self.frame[which])

    def split(self, column: str) -> Iterator[tuple[str, Part]]:
        """The rows for each value of a column, under that value."""
        for value, rows in self.frame.groupby(column):
            yield str(value), replace(self, frame=rows)

    @property
    def heads(self) -> tuple[int, int, int]:
        """Heads and KV heads of one rank, and their width."""
        attention = self.shapes.attention
        return attention.heads, attention.kv_heads, attention.head_dim

    @property
    def window(self) -> int:
        """The sliding window in tokens, 0 for none."""
        return self.shapes.attention.window or 0


def parts(frame: DataFrame, origin: Origin) -> Iterator[Part]:
    """The parts of a file."""
    for (gpu, name, tp), rows in frame.groupby(["gpu", "model", "tp"]):
        model = model_spec(str(name))
        shapes = origin.shapes(model, int(str(tp)))
        yield Part(origin, accelerator(str(gpu)).name, model, shapes, rows)


def add_products(rows: CostRows, part: Part, layer: str, size: str) -> bool:
    """Add the rows of a layer that is a matrix product; False where it is none."""
    if layer not in part.shapes.gemms:
        return False
    rows.add(part.key("gemm"), (part.ints(size), *part.shapes.gemms[layer]), part.seconds())
    return True


def read_part_file(path: Path, origin: Origin, *columns: str) -> DataFrame:
    """The file's rows, with these columns and those that every file has; InputError otherwise."""
    import pandas  # here alone, for it takes half a second to load

    needed = ["gpu", "model", "tp", *columns, origin.time_column]
    try:
        return pandas.read_csv(path, usecols=needed)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"`{path}` cannot be read as a table of LLMServingSim: {error}",
            hint=f"its columns are {', '.join(needed)}",
        ) from error
