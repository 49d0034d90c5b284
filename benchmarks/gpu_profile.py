"""One command for a rented GPU: profile it, then check the profile against a real engine.

`python -m benchmarks.gpu_profile --gpu h200_sxm --out h200/` takes less than 25 minutes. It leaves
the cost file, which step costs read, and a report: the error of points left out by table, whole
steps against the sum of their kernels, and transformers' continuous batching against its forecast
from the profile. A second call goes on with the same cost file. On a CPU, where nothing but the
way is of interest, `--device cpu --minutes 2` takes tiny models.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.profiled_engine import Engine, Load
from benchmarks.profiled_steps import StepCheck, off_rows, profiled_source, ratio_rows
from benchmarks.table import Row, show, write
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.cost_file import read_costs
from servecast.primitives.cost_table import CostTable
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec, MoeFfn
from servecast.primitives.table_preferences import OWN
from servecast.profiler.cost_summary import summaries
from servecast.profiler.measuring import Measurement, Order, measure
from servecast.profiler.probe_setup import Backend, Setup
from servecast.profiler.profiling import Budget
from servecast.profiler.torch_bench import TorchBench
from servecast.timewarp.transformers_seam import transformers


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the profile, with its share of the time."""

    name: str
    share: float
    operations: frozenset[str]
    is_narrow: bool = False
    """In fp8, where the device has it."""


ATTENTION = frozenset({"prefill_attention", "decode_attention", "mla_prefill", "mla_decode"})
STAGES = (
    Stage("products", 0.2, frozenset({"gemm", "elementwise", "sampling"})),
    Stage("products in fp8", 0.08, frozenset({"gemm"}), is_narrow=True),
    Stage("attention", 0.15, ATTENTION),
    Stage(
        "attention of drafts and mixed steps",
        0.08,
        frozenset({"verify_attention", "mixed_attention"}),
    ),
    Stage("block-sparse attention", 0.08, frozenset({"block_sparse_attention"})),
    Stage("experts", 0.1, frozenset({"moe"})),
    Stage("copies", 0.02, frozenset({"host_copy"})),
    Stage("whole steps", 0.09, frozenset({"model_step"})),
)
"""What is left of the time is the engine's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is profiled and run on one kind of device."""

    models: tuple[ModelSpec, ...]
    """Whose shapes are profiled."""
    served: tuple[ModelSpec, ...]
    """Which the engine runs: plain decoders among them."""
    loads: tuple[Load, ...]
    dtype: Dtype


def plan_of(backend: Backend) -> Plan:
    """Six popular models on a GPU; on a CPU tiny ones, in the format it computes best."""
    if backend is Backend.CUDA:
        models = tuple(map(model, POPULAR))
        return Plan(models, tuple(map(model, SERVED)), GPU_LOADS, Dtype.BF16)
    served = tuple(tiny(layers, hidden) for layers, hidden in ((2, 128), (4, 128), (2, 256)))
    experts = LayerGroup(2, Attention(2, 1, 64), MoeFfn(8, 2, 64))
    windowed = LayerGroup(2, Attention(2, 2, 64, window=128), DenseFfn(256))
    mixed = replace(served[0], name="tiny-mixed", layers=(experts, windowed))
    return Plan((*served, mixed), served, CPU_LOADS, Dtype.FP32)


POPULAR = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-V3",
)
SERVED = ("Qwen/Qwen3-0.6B", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-14B")
GPU_LOADS = (Load(512, 64, 1, 4), Load(512, 64, 8, 24), Load(1024, 64, 32, 64))
CPU_LOADS = (Load(32, 8, 1, 4), Load(32, 8, 4, 12), Load(96, 16, 8, 24))


def tiny(layers: int, hidden: int) -> ModelSpec:
    """A plain decoder that a CPU runs in next to no time."""
    attention = Attention(hidden // 64, hidden // 64, 64)
    return ModelSpec(
        name=f"tiny-{layers}x{hidden}",
        architecture="LlamaForCausalLM",
        hidden=hidden,
        vocab=512,
        tie_embeddings=False,
        max_model_len=4096,
        weights_dtype=Dtype.FP32,
        layers=(LayerGroup(layers, attention, DenseFfn(4 * hidden)),),
        source="random weights",
    )


def profile(
    bench: TorchBench, device: Accelerator, plan: Plan, backend: Backend, seconds: float, path: Path
) -> list[Row]:
    """Every stage measured into the cost file at `path`; a row each."""
    rows: list[Row] = []
    models = tuple(dict.fromkeys((*plan.models, *plan.served)))
    for stage in STAGES:
        setup = Setup(Dtype.FP8 if stage.is_narrow else plan.dtype, backend)
        order = Order(device, models, (1,), setup, stage.operations)
        start = time.monotonic()
        budget = Budget(seconds * stage.share, time.monotonic)
        found = measure(bench, order, path, budget, lambda progress: None)
        rows.append(_stage_row(stage, found, time.monotonic() - start))
    return rows


def _stage_row(stage: Stage, found: Measurement, seconds: float) -> Row:
    progress = found.progress
    return {
        "stage": stage.name,
        "points": progress.measured,
        "known before": progress.known,
        "refused": sum(map(len, progress.refused.values())),
        "of which": "; ".join(list(progress.refused)[:2]),
        "seconds": seconds,
        "dense enough": "yes" if progress.is_complete else "no",
    }


def served(engine: Engine, plan: Plan, until: float) -> list[Row]:
    """The engine beside its forecast, model by model while there is time to start one."""
    rows: list[Row] = []
    for spec in plan.served:
        if time.monotonic() < until:
            rows += engine.rows(spec, plan.loads)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile, check, and write the report."""
    options = _options(arguments)
    device, backend = accelerator(options.gpu), Backend(options.device)
    transformers()  # before the first minute is spent, not after the last
    plan, seconds = plan_of(backend), options.minutes * 60.0
    until = time.monotonic() + seconds
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "costs.csv.gz"
    with closing(TorchBench(backend, threads=1)) as bench:
        starts = bench.launch_s()
        report = {"stages": profile(bench, device, plan, backend, seconds, path)}
        version = bench.version
    report["starting a kernel"] = [{"way": way, "µs": s * 1e6} for way, s in starts.items()]
    store = read_costs(path)
    own = [table for table in store if (table.key.source, table.key.version) == (OWN, version)]
    report["points left out, by table"] = _left_out(own, device)
    report["whole steps"] = StepCheck(store, device).rows()
    report["whole steps, in short"] = off_rows(report["whole steps"])
    report["drafting"] = ratio_rows(own)
    write(folder / "report.json", report)
    engine = Engine(backend, device, plan.dtype, profiled_source(store))
    report["engine"] = served(engine, plan, until)
    write(folder / "report.json", report)
    for title, rows in report.items():
        if rows:
            show(title, rows)


def _left_out(own: Sequence[CostTable], device: Accelerator) -> list[Row]:
    """How well each table's points agree."""
    return [
        {
            "operation": each.key.operation,
            "dtype": each.key.dtype,
            "variant": each.key.variant,
            "rows": each.rows,
            "median %": each.median_error * 100,
            "P90 %": each.p90_error * 100,
        }
        for each in summaries(own, {device.name: device})
        if not each.key.is_eager
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--gpu", default="h200_sxm", help="the catalogue's name of the device")
    parser.add_argument("--device", choices=list(Backend), default=Backend.CUDA)
    parser.add_argument("--minutes", type=float, default=22.0, help="for profile and engine")
    parser.add_argument("--out", default="profile", help="the folder to write")
    return parser.parse_args(arguments)


_Raw = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
