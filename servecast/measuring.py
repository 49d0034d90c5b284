"""Measuring a device from the command line: what is planned, measured and told."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

from servecast.errors import InputError, unknown
from servecast.output import Output, counted, literal
from servecast.profiler import torch_bench
from servecast.profiler.measuring import Measurement, Order, measure
from servecast.profiler.probe import GROWING
from servecast.profiler.probe_grid import counts
from servecast.profiler.probe_setup import Backend
from servecast.profiler.profiling import Budget, Progress
from servecast.profiles import (
    refused_points,
    show_launch,
    show_refused,
    show_tables,
    tables_json,
)
from servecast.writing import require_writable

BUSY = 0.25
"""Load per core beyond which the host's clock sees other work than the kernels'."""


def operations(names: list[str] | None) -> frozenset[str]:
    """All operations where none is named; InputError for a name that is none."""
    for name in names or ():
        if name not in GROWING:
            raise unknown("operation", name, GROWING, command="servecast profile run --dry-run")
    return frozenset(names or GROWING)


def show_plan(out: Output, order: Order) -> None:
    """The coarse grid, and what is not in it."""
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


def measured(
    out: Output, order: Order, minutes: float, threads: int | None, output: Path | None
) -> Measurement:
    """What this machine was measured to, written to `output`; InputError where none is named."""
    if output is None:
        raise InputError("no file to write is named", hint="name one: -o costs.csv.gz")
    require_writable(output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    setup, budget = order.setup, Budget(minutes * 60.0, time.monotonic)
    bench = torch_bench.TorchBench(setup.backend, setup.processes, threads)
    if setup.backend is Backend.CPU and threads != 1:
        _warn_if_busy(out)
    latest = Progress()
    try:
        with closing(bench), out.progress(f"measuring {order.device.name}, seconds") as bar:
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


def show_measured(out: Output, found: Measurement, output: Path | None) -> None:
    """What was measured and how well, and what was not."""
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


def _warn_if_busy(out: Output) -> None:
    """Kernels of several threads wait for the last of them, which other work holds up."""
    if not hasattr(os, "getloadavg"):
        return
    load, _, _ = os.getloadavg()
    if load > BUSY * (os.cpu_count() or 1):
        out.note(f"this machine is busy (load {load:.1f}): times will be too long, and erratic\n")
