"""A page of panels: plotly's figures on cards, in one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from servecast.output import plain_json
from servecast.whole_files import replacing

COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#ca8a04", "#db2777", "#0891b2", "#64748b")
"""One a series, in this order."""
INK, FAINT, GRID = "#1e293b", "#64748b", "#e2e8f0"

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: what it shows, how to read it, and plotly's own words for the rest."""

    title: str
    note: str
    series: Sequence[Json]
    layout: Json
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A title, figures to read at a glance (name and value), panels, and what is owed to whom."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    credit: str = ""


def axis(title: str, **more: object) -> Json:
    """An axis as all panels have it."""
    return {"title": {"text": title}, "gridcolor": GRID, "zeroline": False, **more}


def write_page(page: Page, path: Path) -> None:
    """Write the page; the file appears whole or not at all."""
    import plotly  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

    library = files(plotly).joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    with replacing(path) as scratch:
        scratch.write_text("".join(_html(page, library)), encoding="utf-8")


def _html(page: Page, library: str) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{escape(page.title)}</title>\n<style>{_STYLE}</style>\n"
    yield f"<script>{library}</script></head><body>\n"
    yield f"<header><h1>{escape(page.title)}</h1><p>{escape(page.subtitle)}</p></header>\n"
    yield '<section class="facts">'
    for name, value in page.facts:
        yield f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
    yield "</section>\n<main>"
    for place, panel in enumerate(page.panels):
        yield f'<article class="{"wide" if panel.is_wide else "half"}">'
        yield f"<h2>{escape(panel.title)}</h2><p>{escape(panel.note)}</p>"
        yield f'<div id="panel{place}" class="plot"></div></article>\n'
    yield f"</main><footer>{escape(page.credit)}</footer>\n<script>\n"
    for place, panel in enumerate(page.panels):
        yield f"Plotly.newPlot('panel{place}', {_script(panel.series)}, "
        yield f"{_script({**_LAYOUT, **panel.layout})}, {_script(_CONFIG)});\n"
    yield "</script></body></html>\n"


def _script(value: object) -> str:
    """JSON in which no HTML parser finds a tag."""
    return json.dumps(plain_json(value), separators=(",", ":")).replace("<", "\\u003c")


_LAYOUT: Json = {
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
    "margin": {"l": 64, "r": 20, "t": 12, "b": 52},
    "height": 320,
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hovermode": "x unified",
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    "bargap": 0.03,
}
_CONFIG: Json = {"displaylogo": False, "responsive": True, "displayModeBar": False}
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px; max-width: 1280px; background: #f8fafc; color: #1e293b;
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 26px; overflow-wrap: anywhere; }
header p, article p, footer { margin: 2px 0 0; color: #64748b; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; }
.facts div { flex: 1 1 130px; padding: 12px 16px; background: #fff; border: 1px solid #e2e8f0;
  border-radius: 10px; }
.facts b { display: block; font-size: 21px; font-weight: 650; white-space: nowrap; }
.facts span { color: #64748b; font-size: 13px; }
main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
article { padding: 16px 18px 6px; background: #fff; border: 1px solid #e2e8f0;
  border-radius: 10px; min-width: 0; }
article.wide { grid-column: 1 / -1; }
h2 { margin: 0; font-size: 16px; }
article p { font-size: 13px; }
footer { margin-top: 18px; font-size: 12px; }
@media (max-width: 860px) { main { grid-template-columns: minmax(0, 1fr); } }
"""
