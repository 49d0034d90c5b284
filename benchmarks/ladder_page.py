"""The curves of a ladder in one HTML file: output tokens and time to first token over the rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.table import Row
from servecast.panel_page import COLOURS, Json, Page, Panel, axis, write_page

_CURVES = {
    "round robin, measured": ("RR tok/s", "RR TTFT p90 s", COLOURS[1], "dot"),
    "round robin, simulated": ("RR said", "RR TTFT said", COLOURS[1], "solid"),
    "prefix affinity, measured": ("PA tok/s", "PA TTFT p90 s", COLOURS[0], "dot"),
    "prefix affinity, simulated": ("PA said", "PA TTFT said", COLOURS[0], "solid"),
}
"""By name: the columns of throughput and of latency, colour and dash."""


def draw(path: Path, tables: Mapping[str, Sequence[Row]], gains: Mapping[str, str]) -> None:
    """Draw each server's curves, measured ones dotted; `gains` stand above them in words."""
    panels: list[Panel] = []
    for title, rows in tables.items():
        rate = axis("requests/s sent")
        tokens: Json = {"xaxis": rate, "yaxis": axis("output tokens/s", rangemode="tozero")}
        ttft: Json = {"xaxis": rate, "yaxis": axis("seconds", type="log")}
        panels.append(Panel(title, "Output tokens a second", _series(rows, 0), tokens))
        panels.append(Panel(title, "Time to first token, p90", _series(rows, 1), ttft))
    page = Page(
        title="llm-d's ladder on 16 H100",
        subtitle="Dotted: measured by llm-d. Solid: simulated, nothing fitted.",
        facts=list(gains.items()),
        panels=panels,
        credit="Measurements: llm-d/llm-d guides/optimized-baseline, Apache-2.0",
    )
    write_page(page, path)


def _series(rows: Sequence[Row], column: int) -> list[Json]:
    rates = [float(row["rate"]) for row in rows]
    return [
        {
            "x": rates,
            "y": [float(row[(tokens, ttft)[column]]) for row in rows],
            "name": name,
            "line": {"color": colour, "dash": dash},
        }
        for name, (tokens, ttft, colour, dash) in _CURVES.items()
    ]
