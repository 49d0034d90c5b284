"""Measured costs from the AIConfigurator database, the public package `aiconfigurator-core`.

What is taken: matrix products, attention (latent, sparse and linear too), routed experts,
collectives inside a node, sending tokens to experts. Times are those of one call on one rank. Rules
of the import:

- The version the database calls current speaks for a shape; what it lacks comes from the newest
  other version that has it, under that version's key. A library without a current version (NCCL)
  is taken newest first. No row is made up, none is moved to another version, device or source.
- Repeats of a point are averaged, their range kept as the spread; kernels are never averaged.
- Calls timed outside CUDA graphs are tables of their own, marked eager.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from servecast.errors import unknown
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_store import key_order
from servecast.primitives.cost_table import CostTable
from servecast.profiler import (
    aic_attention,
    aic_collectives,
    aic_dispatch,
    aic_gemm,
    aic_linear,
    aic_mla,
    aic_moe,
    aic_sparse,
)
from servecast.profiler.aic_layout import Group, Layout, groups
from servecast.profiler.aic_package import (
    TableFile,
    current_versions,
    gpus_per_node,
    settings_files,
    systems_root,
    table_files,
)
from servecast.profiler.aic_tables import cost_tables
from servecast.profiler.table_cache import cached_tables

FAMILIES: Mapping[str, tuple[Layout, ...]] = {
    "gemm": aic_gemm.LAYOUTS,
    "attention": aic_attention.LAYOUTS,
    "mla": aic_mla.LAYOUTS,
    "sparse": aic_sparse.LAYOUTS,
    "linear": aic_linear.LAYOUTS,
    "moe": aic_moe.LAYOUTS,
    "collectives": aic_collectives.LAYOUTS,
    "dispatch": aic_dispatch.LAYOUTS,
}
"""What can be asked for, with the layouts of its tables."""

SOURCES = ("vllm", "sglang", "trtllm", "nccl", "oneccl")
"""The engines and libraries whose kernels the database has."""


def import_system(
    device: str,
    *,
    root: str | Path | None = None,
    sources: Collection[str] | None = None,
    families: Collection[str] | None = None,
) -> list[CostTable]:
    """The measured costs of a device, sorted by key; all sources and families where none is named.

    Read once and then kept, under the files' names, sizes and dates, in the user's cache folder.
    InputError where the package is missing or another version, and for names that are not known.
    """
    _require("source", sources, SOURCES)
    _require("family", families, FAMILIES)
    folder = systems_root(root)
    name = accelerator(device).name
    wanted = [layout for each in families or FAMILIES for layout in FAMILIES[each]]
    chosen = list(_chosen(table_files(name, folder), wanted, sources or SOURCES))
    paths = dict.fromkeys(file.path for file, _ in chosen)
    settings = settings_files(name, folder)

    def read() -> list[CostTable]:
        tables = cost_tables(name, _read(name, folder, chosen), current_versions(name, folder))
        return sorted(tables, key=lambda table: key_order(table.key))

    return cached_tables(name, [*paths, *settings], read)


def _require(kind: str, given: Collection[str] | None, known: Collection[str]) -> None:
    for name in given or ():
        if name not in known:
            raise unknown(kind, name, known, command="name one of these, or none for all")


def _chosen(
    files: list[TableFile], layouts: list[Layout], sources: Collection[str]
) -> Iterator[tuple[TableFile, Layout]]:
    for file in files:
        if file.source in sources:
            yield from ((file, layout) for layout in layouts if layout.reads(file))


def _read(device: str, root: Path, chosen: list[tuple[TableFile, Layout]]) -> Iterator[Group]:
    per_node = gpus_per_node(device, root)
    for file, layout in chosen:
        yield from groups(file, layout, per_node)
