"""The curves of a ladder in one HTML file: output tokens and time to first token over the rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.table import Row

_CURVES = {
    "round robin, measured": ("RR tok/s", "RR TTFT p90 s", {"color": "#b4552d", "dash": "dot"}),
    "round robin, simulated": ("RR said", "RR TTFT said", {"color": "#b4552d"}),
    "prefix affinity, measured": ("PA tok/s", "PA TTFT p90 s", {"color": "#2d6ab4", "dash": "dot"}),
    "prefix affinity, simulated": ("PA said", "PA TTFT said", {"color": "#2d6ab4"}),
}
"""By name: the columns of throughput and of latency, and the line."""


def write_page(path: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Draw each server's curves, measured ones dotted."""
    import plotly.graph_objects as figures  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

    parts: list[str] = []
    for title, rows in tables.items():
        rates = [float(row["rate"]) for row in rows]
        for column, unit in enumerate(("output tokens/s", "TTFT p90, s")):
            figure = figures.Figure()
            for name, curve in _CURVES.items():
                values = [float(row[str(curve[column])]) for row in rows]
                figure.add_scatter(x=rates, y=values, name=name, line=curve[2])
            figure.update_layout(
                title=f"{title}: {unit}",
                xaxis_title="requests/s sent",
                yaxis_title=unit,
                yaxis_type="log" if column else "linear",
            )
            parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    path.write_text("<!doctype html><meta charset=utf-8>" + "".join(parts), encoding="utf-8")
