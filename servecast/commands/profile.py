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

profile = typer.Typer(
    help="Measure a device, or import and look at measured costs.", no_args_is_help=True
)

DEFAULT_MODELS = ["Qwen/Qwen3-0.6B", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B"]
DEFAULT_SIZES = [1]


class Device(StrEnum):
    """What PyTorch measures on."""

    CPU = "cpu"
    CUDA = "cuda"


class Format(StrEnum):
    """Number formats that are measured."""

    BF16 = "bf16"
    FP32 = "fp32"
    FP8 = "fp8"


class Database(StrEnum):
    """Whose measured costs can be imported."""

    AIC = "aic"
    LLMSERVINGSIM = "llmservingsim"
    CSV = "csv"


Models = Annotated[
    list[str], typer.Option(help="A model whose shapes are measured; may be repeated.")
]
Ranks = Annotated[list[int], typer.Option(min=1, help="Ranks to cut models into; may be repeated.")]
Weights = Annotated[
    Format, typer.Option(help="Format of weights and tokens; with fp8, tokens are in bf16.")
]
Operations = Annotated[
    list[str] | None, typer.Option(help="What to measure, by default all; may be repeated.")
]
Processes = Annotated[
    int, typer.Option(min=1, help="Ranks that collectives run over, a device each.")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads on a CPU. One is timed by itself, whatever else runs."),
]
CostFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write, or to go on with (.csv.gz)."),
]
Plan = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be measured; takes no PyTorch.")
]


@profile.command()
def run(
    gpu: Annotated[str, typer.Option(help="The catalogue's name of what is measured.")],
    device: Annotated[Device, typer.Option(help="What PyTorch measures on.")] = Device.CUDA,
    model: Models = DEFAULT_MODELS,
    tensor_parallel_size: Ranks = DEFAULT_SIZES,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to measure.")] = 10.0,
    dtype: Weights = Format.BF16,
    operation: Operations = None,
    processes: Processes = 1,
    threads: Threads = None,
    output: CostFile = None,
    dry_run: Plan = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Measure kernels on this machine.

    What the file has is not measured again, and Ctrl-C loses 10 seconds at most.
    """
    from servecast.measuring import measured, operations, show_measured, show_plan
    from servecast.primitives.catalogue import accelerator
    from servecast.primitives.catalogue import model as catalogue_model
    from servecast.primitives.dtype import Dtype
    from servecast.profiler.measuring import Order
    from servecast.profiler.probe_setup import Backend, Setup

    models = tuple(catalogue_model(name) for name in model)
    setup = Setup(Dtype(dtype), Backend(device), processes)
    wanted = operations(operation)
    order = Order(accelerator(gpu), models, tuple(tensor_parallel_size), setup, wanted)
    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    if dry_run:
        show_plan(out, order)
    else:
        show_measured(out, measured(out, order, minutes, threads, output), output)


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
