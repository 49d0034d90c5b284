"""How measured costs are shown: a line a table, findings, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from servecast.output import Output, counted, literal
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerators
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable
from servecast.primitives.table_checks import Finding, findings
from servecast.primitives.units import format_seconds, format_share
from servecast.profiler.cost_summary import TableSummary, summaries
from servecast.profiler.probe import Probe
from servecast.profiler.profiling import Progress


def known_devices() -> dict[str, Accelerator]:
    """The catalogue's accelerators by name."""
    return {device.name: device for device in accelerators()}


def show_tables(out: Output, tables: Iterable[CostTable]) -> None:
    """Every table in a line, by operation."""
    found = summaries(tables, known_devices())
    found.sort(key=lambda each: (each.key.device, each.key.operation))
    columns = ("device", "operation", "dtype", "source", "version", "variant", "eager", "rows")
    errors = ("left out", "median", "P90")
    out.table((*columns, *errors), map(_cells, found), spare=("device", "left out", "median"))


def show_findings(out: Output, tables: Iterable[CostTable]) -> None:
    """What is suspicious about the tables, or that nothing is."""
    found = findings(tables, known_devices())
    out.line(f"\n{counted(len(found), 'finding')}")
    for each in found:
        key = each.key
        kernel = " ".join(filter(None, (key.source, key.version, key.variant)))
        name = f"{key.device} {key.operation} {key.dtype} {kernel}"
        out.line(f"  {each.rule}: {literal(name)}: {literal(each.message)}")


def show_refused(out: Output, reasons: Mapping[str, Sequence[str]]) -> None:
    """What was not measured, by reason, with examples."""
    if reasons:
        out.line("\nnot measured")
    for reason, examples in reasons.items():
        shown = ", ".join(examples[:3]) + (" …" if len(examples) > 3 else "")
        out.line(f"  {literal(reason)}: {literal(shown)}")


def show_launch(out: Output, launch_s: Mapping[str, float]) -> None:
    """What starting a kernel takes."""
    shown = ", ".join(f"{way} {format_seconds(seconds)}" for way, seconds in launch_s.items())
    out.line(f"\nstarting a kernel: {shown}")


def refused_points(progress: Progress) -> dict[str, list[str]]:
    """The points that were refused, in words, by reason."""
    return {reason: [_words(probe) for probe in own] for reason, own in progress.refused.items()}


def tables_json(tables: Iterable[CostTable]) -> list[dict[str, object]]:
    """The tables as JSON values, without their rows."""
    found = summaries(tables, known_devices())
    return [
        {
            **asdict(each.key),
            "rows": each.rows,
            "left_out": each.left_out,
            "median_error": each.median_error,
            "p90_error": each.p90_error,
        }
        for each in found
    ]


def findings_json(store: CostStore) -> list[dict[str, object]]:
    """What is suspicious about the tables, as JSON values."""

    def plain(finding: Finding) -> dict[str, object]:
        return {**asdict(finding.key), "rule": finding.rule, "message": finding.message}

    return [plain(finding) for finding in findings(store, known_devices())]


def _cells(each: TableSummary) -> list[str]:
    key = each.key
    names = (key.device, key.operation, key.dtype, key.source, key.version, key.variant or "–")
    errors = (each.median_error, each.p90_error) if each.left_out else ()
    shown = [format_share(error) for error in errors] or ["–", "–"]
    rows = (f"{each.rows:,}", f"{each.left_out:,}" if each.left_out else "–")
    return [*map(literal, names), "yes" if key.is_eager else "no", *rows, *shown]


def _words(probe: Probe) -> str:
    sizes = ";".join(f"{name}={size}" for name, size in probe.sizes.items())
    return f"{probe.key.operation} {sizes}"
