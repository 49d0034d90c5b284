"""`servecast trace stats --plot`: one page of figures that needs no network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servecast.panel_page import Page, Panel, write_page
from servecast.trace_panels import trace_page
from servecast.traces.excerpts import mixed, of_class
from servecast.traces.prefixes import prefixes
from servecast.traces.presets import preset
from servecast.traces.sessions import Sessions
from servecast.traces.statistics import statistics
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload
from tests.command import assert_refused, run


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def chat(requests: int = 400, rate: float = 2.0) -> Workload:
    return synthesize(preset("chat"), requests, rate_per_s=rate)


def page_of(workload: Workload) -> Page:
    return trace_page(workload, statistics(workload))


def titled(workload: Workload) -> dict[str, Panel]:
    return {panel.title: panel for panel in page_of(workload).panels}


def test_a_trace_becomes_one_page_that_loads_nothing() -> None:
    run("trace", "synthesize", "chat", "t.csv", "--requests", "300", "--rate", "2/s")
    told = run("trace", "stats", "t.csv", "--plot", "out.html")
    assert told.code == 0, told.err
    assert "wrote out.html" in told.err
    text = Path("out.html").read_text(encoding="utf-8")
    own = text.replace(re.findall(r"<script>.*?</script>", text, re.DOTALL)[0], "")
    assert "<link" not in own
    assert "src=" not in own
    assert own.count("Plotly.newPlot(") == own.count('class="plot"') == 5
    assert "Azure LLM inference trace" in own
    assert {path.name for path in Path().iterdir()} == {"t.csv", "out.html"}


def figures(path: Path) -> Iterator[list[Any]]:
    """The series and layout of each panel, as the page's script states them."""
    script = path.read_text(encoding="utf-8").rpartition("<script>")[2]
    decoder = json.JSONDecoder()
    for part in script.split("Plotly.newPlot('")[1:]:
        series, end = decoder.raw_decode(part[part.index("[") :])
        rest = part[part.index("[") + end :]
        yield [series, decoder.raw_decode(rest[rest.index("{") :])[0]]


def test_the_page_is_valid_whatever_the_trace_is_called() -> None:
    name = '</script><script>alert("x")</script>'
    page = replace(page_of(replace(chat(), name=name)), credit="<b>&")
    panel = replace(page.panels[0], series=[{"name": name, "y": [1.0, float("nan")]}])
    write_page(replace(page, panels=[panel]), Path("p.html"))
    text = Path("p.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;b&gt;&amp;" in text
    ((series, layout),) = figures(Path("p.html"))
    assert series == [{"name": name, "y": [1.0, None]}]
    assert layout["xaxis"]["title"]["text"] == "time (min)"


def test_the_same_trace_gives_the_same_bytes() -> None:
    write_page(page_of(chat()), Path("a.html"))
    write_page(page_of(chat()), Path("b.html"))
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()


def test_a_page_that_cannot_be_written_is_refused_and_leaves_nothing() -> None:
    run("trace", "synthesize", "chat", "t.csv", "--requests", "30")
    told = run("trace", "stats", "t.csv", "--plot", "none/out.html")
    assert_refused(told, 2, "its folder does not exist")
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


def test_panels_show_what_is_known() -> None:
    always = {"Prompt lengths", "Output lengths"}
    arriving = {"Rate over time", "Index of dispersion", "Variation of gaps over time"}
    workload = chat()
    assert set(titled(workload)) == always | arriving
    chains = [[0, 1, number + 2] for number in range(len(workload))]
    shared = replace(workload, prefixes=prefixes(16, chains))
    assert set(titled(shared)) == always | arriving | {"Prefix hits by cache size"}
    follows = np.arange(len(workload)) - 1
    waiting = replace(workload, sessions=Sessions(follows, np.full(len(workload), 10**9)))
    assert set(titled(waiting)) == always | {"Requests of a session", "Think times"}


def test_curves_carry_every_request() -> None:
    workload = chat()
    panels = titled(workload)
    (rate,) = panels["Rate over time"].series
    bin_s = 60 * (rate["x"][1] - rate["x"][0])  # type: ignore[index]
    assert sum(rate["y"]) * bin_s == pytest.approx(400, rel=0.02)  # type: ignore[call-overload]
    (lengths,) = panels["Prompt lengths"].series
    assert sum(lengths["y"]) == pytest.approx(1.0)  # type: ignore[call-overload]


def test_classes_are_told_apart() -> None:
    both = mixed([of_class(chat(), "chat"), of_class(chat(100, 0.5), "batch")])
    page = page_of(both)
    assert page.subtitle == "classes: chat, batch"
    for panel in page.panels:
        if panel.title in ("Rate over time", "Prompt lengths", "Output lengths"):
            assert {series["name"] for series in panel.series} == {"chat", "batch"}


@pytest.mark.parametrize("requests", [1, 2, 5])
def test_the_smallest_traces_have_a_page(requests: int) -> None:
    workload = chat(requests)
    write_page(page_of(workload), Path("p.html"))
    assert len(list(figures(Path("p.html")))) >= 2
    alike = replace(workload, arrival_ns=np.zeros(requests, np.int64))
    write_page(page_of(alike), Path("q.html"))
    assert len(list(figures(Path("q.html")))) == 2
