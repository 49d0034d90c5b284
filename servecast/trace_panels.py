"""A workload as a page of panels: when requests come, how long they are, what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from servecast.panel_page import COLOURS, FAINT, INK, Json, Page, Panel, axis
from servecast.primitives.units import format_seconds
from servecast.traces.prefixes import Prefixes
from servecast.traces.sessions import Sessions
from servecast.traces.statistics import Statistics
from servecast.traces.timeline import bin_length_s, dispersion, gap_cv, timeline
from servecast.traces.working_set import working_set
from servecast.traces.workload import Ints, Workload

_BARS = 60
Parts = Sequence[tuple[str, NDArray[np.bool_]]]


def trace_page(workload: Workload, found: Statistics) -> Page:
    """The page of a workload of at least one request, whose statistics are `found`."""
    parts = _parts(workload)
    panels: list[Panel] = []
    if found.arrivals is not None and found.arrivals.span_s > 0:
        panels += [_rate(workload, parts), *_bursts(workload)]
    if workload.sessions is not None:
        panels += _waits(workload.sessions)
    for name, tokens in (("prompt", workload.prompt_tokens), ("output", workload.output_tokens)):
        panels.append(_histogram(f"{name} lengths", f"{name} tokens", tokens, parts))
    if workload.prefixes is not None and workload.sessions is None:
        panels.append(_working_set(workload.prefixes, workload.prompt_tokens))
    return Page(
        title=workload.name,
        subtitle=_subtitle(workload),
        facts=list(_facts(found)),
        panels=panels,
        credit=workload.attribution,
    )


def _parts(workload: Workload) -> Parts:
    """Which requests are of which class; all of them under no name where there are none."""
    classes = workload.classes
    if classes is None:
        return [("", np.ones(len(workload), np.bool_))]
    return [
        (name, np.asarray(classes.numbers == number)) for number, name in enumerate(classes.names)
    ]


def _subtitle(workload: Workload) -> str:
    if workload.sessions is not None:
        return "sessions: requests that wait for each other have no times of arrival"
    if workload.classes is not None:
        return f"classes: {', '.join(workload.classes.names)}"
    return "requests as they arrive"


def _facts(found: Statistics) -> Iterator[tuple[str, str]]:
    yield "requests", f"{found.rows:,}"
    arrivals = found.arrivals
    if arrivals is not None:
        yield "from first to last arrival", format_seconds(arrivals.span_s)
        yield "requests per second", f"{arrivals.rate_per_s:.3g}"
        if arrivals.interarrival_cv is not None:
            yield "CV of gaps (Poisson: 1)", f"{arrivals.interarrival_cv:.2f}"
    if found.sessions is not None:
        yield "sessions", f"{found.sessions.sessions:,}"
    for name, tokens in (("prompt", found.input_tokens), ("output", found.output_tokens)):
        yield f"{name} tokens, p50 / p95", f"{tokens.p50:,.0f} / {tokens.p95:,.0f}"
    if found.prefixes is not None:
        yield "prompt tokens seen before", f"{found.prefixes.token_hit:.1%}"


def _rate(workload: Workload, parts: Parts) -> Panel:
    since_ns = workload.arrival_ns - workload.arrival_ns[0]
    span_ns = int(since_ns[-1])
    bin_s = bin_length_s(span_ns / 1e9)
    scale, unit = _time_unit(span_ns / 1e9)
    series: list[Json] = []
    for place, (name, mine) in enumerate(parts):
        curve = timeline(since_ns[mine], span_ns, bin_s)
        series.append(
            {
                "x": (curve.start_s / scale).tolist(),
                "y": curve.rate_per_s.tolist(),
                "name": name or "requests/s",
                "mode": "lines",
                "stackgroup": "all",
                "line": {"shape": "hv", "width": 1, "color": COLOURS[place % len(COLOURS)]},
                "hovertemplate": "%{y:.3g}/s",
            }
        )
    mean = workload.rate_per_s
    layout = {
        "xaxis": axis(f"time ({unit})"),
        "yaxis": axis("requests per second", rangemode="tozero"),
        "shapes": [_level(mean)],
        "showlegend": len(parts) > 1,
    }
    note = f"in bins of {format_seconds(bin_s)}; dashed: the mean, {mean:.3g}/s"
    return Panel("Rate over time", note, series, layout, is_wide=True)


def _bursts(workload: Workload) -> Iterator[Panel]:
    lengths_s, indices = dispersion(workload)
    if len(lengths_s):
        series = _line(lengths_s, indices, "dispersion", markers=True)
        layout = {
            "xaxis": axis("length of the window (s)", type="log"),
            "yaxis": axis("variance / mean of the count", type="log"),
            "shapes": [_level(1.0)],
        }
        note = "of arrivals, by length of the window; dashed: Poisson, 1 at every length"
        yield Panel("Index of dispersion", note, [series], layout)
    start_s, cv = gap_cv(workload)
    if np.isfinite(cv).any():
        scale, unit = _time_unit(float(start_s[-1]))
        layout = {
            "xaxis": axis(f"time ({unit})"),
            "yaxis": axis("standard deviation / mean", rangemode="tozero"),
            "shapes": [_level(1.0)],
        }
        step = format_seconds(float(start_s[1] - start_s[0])) if len(start_s) > 1 else "all"
        note = f"between arrivals, in spans of {step}; dashed: Poisson"
        series = _line(start_s / scale, cv, "CV", markers=True)
        yield Panel("Variation of gaps over time", note, [series], layout)


def _waits(sessions: Sessions) -> Iterator[Panel]:
    sizes = np.bincount(sessions.numbers())
    everyone = [("", np.ones(len(sizes), np.bool_))]
    yield _histogram("requests of a session", "requests", sizes, everyone, "sessions")
    think_s = np.rint(sessions.think_ns[~sessions.is_first] / 1e9).astype(np.int64)
    if len(think_s):
        everyone = [("", np.ones(len(think_s), np.bool_))]
        yield _histogram("think times", "seconds, from 1 on", np.maximum(think_s, 1), everyone)


def _histogram(
    title: str, unit: str, values: Ints, parts: Parts, of_whom: str = "requests"
) -> Panel:
    """Whole numbers from 1 on, in bars of equal width on a logarithmic scale."""
    low, high = int(values.min()), int(values.max())
    edges = np.unique(np.rint(np.geomspace(low, high + 1, _BARS + 1))) - 0.5
    series: list[Json] = []
    for place, (label, mine) in enumerate(parts):
        counts, _ = np.histogram(values[mine], edges)
        series.append(
            {
                "type": "bar",
                "x": np.sqrt(np.maximum(edges[:-1], 0.5) * edges[1:]).tolist(),
                "y": (counts / len(values)).tolist(),
                "width": np.diff(edges).tolist(),
                "name": label or title,
                "marker": {"color": COLOURS[place % len(COLOURS)], "line": {"width": 0}},
                "hovertemplate": "%{y:.2%}",
            }
        )
    middle = float(np.median(values))
    layout = {
        "xaxis": axis(unit, type="log"),
        "yaxis": axis(f"share of {of_whom}", tickformat=".0%"),
        "barmode": "stack",
        "shapes": [_mark(middle)],
        "showlegend": len(parts) > 1,
    }
    mean = float(values.mean())
    figure = f"{mean:,.0f}" if mean >= 100 else f"{mean:.1f}"
    note = f"mean {figure}, dashed: median {middle:,.0f}, greatest {high:,}"
    return Panel(title.capitalize(), note, series, layout)


def _working_set(known: Prefixes, prompt_tokens: Ints) -> Panel:
    curve = working_set(known, prompt_tokens)
    series = _line(curve.cache_tokens, curve.block_hit, "found", "%{y:.1%}")
    layout = {
        "xaxis": axis("cache size (tokens)", type="log"),
        "yaxis": axis("share of prompt blocks", tickformat=".0%", rangemode="tozero"),
        "shapes": [_level(float(curve.block_hit[-1]))],
    }
    sample = "" if curve.sampled == 1 else f"; from {curve.sampled:.0%} of the blocks"
    note = (
        "what one cache for all requests finds that forgets the least recently used; dashed: one "
        f"that forgets nothing{sample}"
    )
    return Panel("Prefix hits by cache size", note, [series], layout, is_wide=True)


def _line(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    name: str,
    hover: str = "%{y:.3g}",
    *,
    markers: bool = False,
) -> Json:
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "name": name,
        "mode": "lines+markers" if markers else "lines",
        "line": {"width": 2, "color": COLOURS[0]},
        "hovertemplate": hover,
    }


def _level(y: float) -> Json:
    """A dashed line across the panel."""
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
    return {**across, "line": {"dash": "dash", "width": 1.5, "color": FAINT}}


def _mark(x: float) -> Json:
    """A dashed line up the panel."""
    up = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x}
    return {**up, "line": {"dash": "dash", "width": 1.5, "color": INK}}


def _time_unit(span_s: float) -> tuple[float, str]:
    """Seconds in the unit that a span is best told in, and its name."""
    if span_s >= 3 * 86_400:
        return 86_400.0, "days"
    if span_s >= 3 * 3600:
        return 3600.0, "h"
    return (60.0, "min") if span_s >= 180 else (1.0, "s")
