"""`servecast profile`: measure a device, look at measured costs, import those of others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, counted, literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from servecast.primitives.cost_store import CostStore
    from servecast.primitives.cost_table import CostTable
    from servecast.profiler.measuring import Measurement, Order

profile = typer.Typer(
    help="Measure a device, or import and look at measured costs.", no_args_is_help=True
)

DEFAULT_MODELS = ["Qwen/Qwen3-0.6B", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B"]
DEFAULT_SIZES = [1]

BUSY = 0.25
"""Load per core beyond which the host's clock sees other work than the kernels'."""


class Device(StrEnum):
    """What PyTorch measures on."""

    CPU = "cpu"
    CUDA = "cuda"


class Format(StrEnum):
    """Number formats that are measured."""

    BF16 = "bf16"
    FP32 = "fp32"


class Database(StrEnum):
    """Whose measured costs can be imported."""

    AIC = "aic"
    LLMSERVINGSIM = "llmservingsim"
    CSV = "csv"


@profile.command()
def run(
    gpu: Annotated[str, typer.Option(help="The catalogue's name of what is measured.")],
    device: Annotated[Device, typer.Option(help="What PyTorch measures on.")] = Device.CUDA,
    model: Annotated[
        list[str], typer.Option(help="A model whose shapes are measured; may be repeated.")
    ] = DEFAULT_MODELS,
    tensor_parallel_size: Annotated[
        list[int], typer.Option(min=1, help="Ranks to cut models into; may be repeated.")
    ] = DEFAULT_SIZES,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to measure.")] = 10.0,
    dtype: Annotated[Format, typer.Option(help="Format of weights and tokens.")] = Format.BF16,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, or to go on with (.csv.gz)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be measured; takes no PyTorch.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Measure kernels on this machine.

    What the file has is not measured again, and Ctrl-C loses 10 seconds at most.
    """
    from servecast.primitives.catalogue import accelerator
    from servecast.primitives.catalogue import model as catalogue_model
    from servecast.primitives.dtype import Dtype
    from servecast.profiler.measuring import Order

    models = [catalogue_model(name) for name in model]
    order = Order(accelerator(gpu), tuple(models), tuple(tensor_parallel_size), Dtype(dtype))
    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if dry_run:
        _plan(out, order)
    else:
        _report(out, _measured(out, order, device, minutes, output), output)


@profile.command()
def show(
    source: Annotated[str, typer.Argument(help="A cost file, or a GPU of the extra `aic`.")],
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Show the tables of a cost file or a database.

    Each with its rows, and what is suspicious about it.
    """
    from servecast.profiles import findings_json, show_findings, show_tables, tables_json

    store = _store(source)
    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if out.json_mode:
        out.data({"tables": tables_json(store), "findings": findings_json(store)})
        return
    show_tables(out, store)
    show_findings(out, store)


@profile.command("import")
def import_(
    database: Annotated[Database, typer.Argument(help="Whose costs they are.")],
    source: Annotated[
        str,
        typer.Argument(help="A GPU (aic), a folder of tables (llmservingsim), a CSV of your own."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The cost file to write.")],
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Write others' measured costs as a cost file."""
    from servecast.primitives.cost_file import write_costs
    from servecast.writing import require_writable

    require_writable(output.parent)
    tables = _imported(database, source)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_costs(tables, output)
    rows = sum(map(len, tables))
    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if out.json_mode:
        out.data({"written": str(output), "tables": len(tables), "rows": rows})
    else:
        shown = f"{counted(len(tables), 'table')}, {counted(rows, 'row')}"
        out.line(f"wrote {literal(output)}: {shown}")


def _plan(out: Output, order: Order) -> None:
    from servecast.profiler.probe_grid import counts
    from servecast.profiles import show_refused

    found = counts(order.grid(""))
    unmeasured = order.shapes.unmeasured
    if out.json_mode:
        plan = {name: {"shapes": one, "points": all_} for name, (one, all_) in found.items()}
        out.data({"grid": plan, "not_measured": unmeasured})
        return
    rows = ((name, f"{one:,}", f"{all_:,}") for name, (one, all_) in found.items())
    out.table(("operation", "shapes", "points"), rows)
    out.note("\nthe time left after these goes where their neighbours predict points worst")
    show_refused(out, unmeasured)


def _measured(
    out: Output, order: Order, device: Device, minutes: float, output: Path | None
) -> Measurement:
    import time

    from servecast.errors import InputError
    from servecast.profiler.measuring import measure
    from servecast.profiler.profiling import Budget, Progress
    from servecast.profiler.torch_bench import TorchBench
    from servecast.writing import require_writable

    if output is None:
        raise InputError("no file to write is named", hint="name one: -o costs.csv.gz")
    require_writable(output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    bench, budget = TorchBench(device), Budget(minutes * 60.0, time.monotonic)
    if device is Device.CPU:
        _warn_if_busy(out)
    latest = Progress()
    try:
        with out.progress(f"measuring {order.device.name}, seconds") as bar:
            start = time.monotonic()

            def step(progress: Progress) -> None:
                nonlocal latest
                latest = progress
                bar.step(int(time.monotonic() - start), int(budget.seconds))

            return measure(bench, order, output, budget, step)
    except KeyboardInterrupt:
        kept = counted(latest.measured, "new point")
        out.note(f"{kept} kept in {literal(output)}: the same command goes on from there")
        raise


def _warn_if_busy(out: Output) -> None:
    """Kernels of several threads wait for the last of them, which other work holds up."""
    import os

    if not hasattr(os, "getloadavg"):
        return
    load, _, _ = os.getloadavg()
    if load > BUSY * (os.cpu_count() or 1):
        out.note(f"this machine is busy (load {load:.1f}): times will be too long, and erratic\n")


def _report(out: Output, found: Measurement, output: Path | None) -> None:
    from servecast.profiles import (
        refused_points,
        show_launch,
        show_refused,
        show_tables,
        tables_json,
    )

    progress = found.progress
    refused = {**found.unmeasured, **refused_points(progress)}
    if out.json_mode:
        value = {"written": str(output), "measured": progress.measured, "known": progress.known}
        value |= {"complete": progress.is_complete, "launch_s": found.launch_s}
        out.data({**value, "tables": tables_json(found.tables), "not_measured": refused})
        return
    known = f", {progress.known:,} of the grid known before" if progress.known else ""
    out.line(f"wrote {literal(output)}: {counted(progress.measured, 'point')} measured{known}\n")
    show_tables(out, found.tables)
    show_launch(out, found.launch_s)
    show_refused(out, refused)
    if progress.is_complete:
        out.note("\nno further point pays: lines are within 2 %, or as dense as they get")
    else:
        out.note("\ntime was up before every line was within 2 %: the same command goes on")


def _store(source: str) -> CostStore:
    """The tables of a cost file, or of a device in the database that the extra brings."""
    from servecast.primitives.cost_file import read_costs
    from servecast.primitives.cost_store import CostStore

    is_file = Path(source).exists() or source.endswith((".csv", ".gz")) or "/" in source
    return read_costs(source) if is_file else CostStore(_of_device(source))


def _of_device(name: str) -> list[CostTable]:
    """The database's tables of a GPU; a name that is not known is an error of its own."""
    from servecast.primitives.catalogue import accelerator
    from servecast.profiler.aiconfigurator import import_system

    return import_system(accelerator(name).name)


def _imported(database: Database, source: str) -> list[CostTable]:
    from servecast.profiler.llmservingsim import import_llmservingsim
    from servecast.profiler.plain_costs import read_plain_costs

    readers: dict[Database, Callable[[str], list[CostTable]]] = {
        Database.AIC: _of_device,
        Database.LLMSERVINGSIM: import_llmservingsim,
        Database.CSV: read_plain_costs,
    }
    return readers[database](source)
