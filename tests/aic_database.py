"""A tiny AIConfigurator database, written by hand in the layout of the public one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from servecast.primitives.cost_table import CostTable
from servecast.profiler import import_system

Row = Mapping[str, object]

CURRENT = {"vllm": "0.24.0", "sglang": "0.5.14", "trtllm": "1.3.0rc20"}


class Database:
    """A folder `systems` with one file for each call of `add`; `tables` imports it."""

    def __init__(self, folder: Path, gpus_per_node: int = 8) -> None:
        self.root = folder / "systems"
        (self.root / "data").mkdir(parents=True)
        slots = "".join(f'  {name}: {{current: "{v}"}}\n' for name, v in CURRENT.items())
        older = '  a100_sxm:\n    vllm: {current: "0.14.0", previous: null}\n'
        text = f"schema_version: 1\ndefaults:\n{slots}overrides:\n{older}"
        (self.root / "query_versions.yaml").write_text(text)
        self.gpus_per_node = gpus_per_node

    def add(
        self,
        table: str,
        rows: Sequence[Row],
        *,
        family: str = "",
        source: str = "vllm",
        version: str = "",
        system: str = "h200_sxm",
    ) -> Path:
        """Write one table; the version is the current one where none is given."""
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        node = f"node:\n  num_gpus_per_node: {self.gpus_per_node}\n"
        (self.root / f"{system}.yaml").write_text(node)
        version = version or CURRENT.get(source, "1")
        family = family or table.removesuffix("_perf")
        path = self.root / "data" / system / family / source / version / f"{table}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        extra = {"framework": source, "version": version, "device": "made up"}
        parquet.write_table(arrow.Table.from_pylist([extra | dict(row) for row in rows]), path)
        return path

    def tables(
        self,
        device: str = "h200_sxm",
        *,
        sources: Iterable[str] | None = None,
        families: Iterable[str] | None = None,
    ) -> list[CostTable]:
        """What is imported of it."""
        return import_system(
            device,
            root=self.root,
            sources=None if sources is None else tuple(sources),
            families=None if families is None else tuple(families),
        )

    def only(self, device: str = "h200_sxm") -> CostTable:
        """The one table that is imported of it."""
        tables = self.tables(device)
        assert len(tables) == 1, [table.key for table in tables]
        return tables[0]


def gemm(m: int, latency: float = 0.01, **other: object) -> dict[str, object]:
    """A row of `gemm_perf`: 4096 outputs and inputs, bf16, milliseconds."""
    names = {"op_name": "gemm", "kernel_source": "cublas", "gemm_dtype": "bfloat16"}
    return names | {"m": m, "n": 4096, "k": 4096, "latency": latency} | other


def attention(isl: int, step: int, latency: float = 0.01, **other: object) -> dict[str, object]:
    """A row of `context_attention_perf` or `generation_attention_perf`, without a window."""
    names = {"kernel_source": "fa3", "attn_dtype": "bfloat16", "kv_cache_dtype": "fp8"}
    heads = {"num_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "beam_width": 1}
    sizes = {"batch_size": 4, "isl": isl, "step": step, "latency": latency}
    return names | heads | sizes | other


def experts(tokens: int, latency: float = 0.05, **other: object) -> dict[str, object]:
    """A row of `moe_perf`: 128 experts of width 768 on one rank, 8 to a token."""
    names = {"kernel_source": "triton", "moe_dtype": "bfloat16", "distribution": "balanced"}
    shape = {"hidden_size": 2048, "inter_size": 768, "topk": 8, "num_experts": 128}
    ranks = {"moe_tp_size": 1, "moe_ep_size": 1}
    return names | shape | ranks | {"num_tokens": tokens, "latency": latency} | other


def all_reduce(size: int, kernel: str, latency: float) -> dict[str, object]:
    """A row of `custom_allreduce_perf` over 8 GPUs."""
    names: dict[str, object] = {"kernel_source": kernel, "allreduce_dtype": "bfloat16"}
    return names | {"num_gpus": 8, "message_size": size, "latency": latency}
