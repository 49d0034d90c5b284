"""`servecast trace`: look at a workload, convert it, or synthesize one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.traces.statistics import Statistics, TokenStatistics
    from servecast.traces.workload import Workload

trace = typer.Typer(help="Look at workloads, convert and synthesize them.", no_args_is_help=True)


@trace.command()
def stats(
    path: Annotated[Path, typer.Argument(help="A trace file (CSV or JSONL, .gz too).")],
    plot: Annotated[
        Path | None, typer.Option(help="Write figures of it to this HTML file.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Show what makes a workload hard: rate, bursts, lengths."""
    from dataclasses import asdict

    from servecast.traces.readers import read
    from servecast.traces.statistics import statistics

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    workload = read(path)
    found = statistics(workload)
    if plot is not None:
        _plot(workload, found, plot)
    if out.json_mode:
        facts = {"attribution": workload.attribution, "failed": workload.failed}
        out.data({"trace": workload.name, **facts, **asdict(found)})
        return
    _show(out, workload.name, found)
    if workload.failed:
        out.line(f"\nleft out: {workload.failed:,} failed, with no output")
    if workload.attribution:
        out.note(f"\n{literal(workload.attribution)}")
    if plot is not None:
        out.note(f"\nwrote {literal(plot)}")


def _plot(workload: Workload, found: Statistics, path: Path) -> None:
    from servecast.panel_page import write_page
    from servecast.trace_panels import trace_page

    write_page(trace_page(workload, found), path)


Sort = Annotated[bool, typer.Option("--sort", help="Put out-of-order arrivals in order.")]
Rate = Annotated[str | None, typer.Option(help="Stretch time to this mean rate, for example 12/s.")]
Curve = Annotated[
    Path | None,
    typer.Option("--rates", help="Follow the rates of a table: t_s, rate_rps; --rate: its mean."),
]
Requests = Annotated[int | None, typer.Option(min=1, help="Keep the first so many.")]
Start = Annotated[str, typer.Option("--from", help="Drop what comes before this time.")]
End = Annotated[
    str | None, typer.Option("--to", help="Drop what comes from this time on, such as 1h.")
]
Share = Annotated[float | None, typer.Option("--thin", help="Keep each request with this chance.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed thins alike.")]
Spread = Annotated[
    bool, typer.Option("--spread-ticks", help="Spread what arrives at one tick over it.")
]
Mooncake = Annotated[
    bool, typer.Option("--mooncake", help="Write Mooncake's format, not the plain one.")
]


@trace.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The trace to read.")],
    target: Annotated[
        Path, typer.Argument(help="The file to write: .csv, .jsonl, and .gz of both.")
    ],
    sort: Sort = False,
    spread: Spread = False,
    start: Start = "0s",
    end: End = None,
    requests: Requests = None,
    share: Share = None,
    seed: Seed = 0,
    rate: Rate = None,
    rates: Curve = None,
    mooncake: Mooncake = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Convert a trace: sorted, cut, thinned or stretched."""
    from servecast.traces.mooncake_writer import write_mooncake
    from servecast.traces.readers import read
    from servecast.traces.writers import write

    workload = _excerpt(read(source, sort=sort), start, end, spread=spread)
    workload = _paced(_reshaped(workload, requests, share, seed), rate, rates)
    (write_mooncake if mooncake else write)(workload, target)
    _written(Output(json_mode=json, quiet=quiet, no_color=no_color), target, len(workload))


@trace.command()
def mix(
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    sources: Annotated[
        list[str],
        typer.Argument(help="The traces, each from its own time 0 on; CLASS=FILE names a class."),
    ],
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Put several traces into one, in order of arrival."""
    from servecast.traces.excerpts import mixed
    from servecast.traces.writers import write

    workload = mixed([_source(source) for source in sources])
    write(workload, target)
    _written(Output(json_mode=json, quiet=quiet, no_color=no_color), target, len(workload))


@trace.command()
def synthesize(
    shape: Annotated[str, typer.Argument(help="A named shape: chat, code, reasoning …")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    requests: Annotated[int, typer.Option(min=1, help="How many requests.")] = 1000,
    rate: Annotated[str, typer.Option(help="Mean arrival rate.")] = "1/s",
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Draw a workload from a named shape and write it."""
    from servecast.primitives.units import parse_rate
    from servecast.traces.presets import preset
    from servecast.traces.synthesize import synthesize as draw
    from servecast.traces.writers import write

    rate_per_s = parse_rate(rate, positive=True)
    workload = draw(preset(shape), requests, rate_per_s=rate_per_s, seed=seed)
    write(workload, target)
    _written(Output(json_mode=json, quiet=quiet, no_color=no_color), target, len(workload))


@trace.command()
def servegen(
    pool: Annotated[str, typer.Argument(help="Whose clients: m-large, deepseek-r1 …")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    folder: Annotated[Path, typer.Option("--from", help="The folder of ServeGen's two files.")],
    span: Annotated[str, typer.Option(help="How long the clients send.")] = "10min",
    rate: Annotated[
        str | None, typer.Option(help="Mean rate of all together; otherwise as published.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Draw a workload from a pool of ServeGen's clients."""
    from servecast.primitives.units import parse_rate, parse_seconds
    from servecast.traces.servegen import read_pool
    from servecast.traces.writers import write

    clients = read_pool(folder, pool)
    rate_per_s = clients.rate_per_s if rate is None else parse_rate(rate, positive=True)
    workload = clients.synthesize(rate_per_s, parse_seconds(span), seed)
    write(workload, target)
    _written(Output(json_mode=json, quiet=quiet, no_color=no_color), target, len(workload))


def _source(text: str) -> Workload:
    """The trace of a file, all of it in the class that stands before the file's name."""
    from servecast.traces.excerpts import of_class
    from servecast.traces.readers import read

    name, equals, file = text.partition("=")
    if not equals or Path(text).exists():
        return read(text)
    return of_class(read(file), name)


def _excerpt(workload: Workload, start: str, end: str | None, *, spread: bool) -> Workload:
    from servecast.primitives.units import parse_seconds
    from servecast.traces.excerpts import between, without_ticks

    if spread:
        workload = without_ticks(workload)
    start_s = parse_seconds(start)
    if end is None and not start_s:
        return workload
    last_s = int(workload.arrival_ns[-1]) / 1e9
    return between(workload, start_s, last_s + 1.0 if end is None else parse_seconds(end))


def _reshaped(workload: Workload, requests: int | None, share: float | None, seed: int) -> Workload:
    from servecast.traces.excerpts import thinned
    from servecast.traces.reshape import head

    if requests is not None:
        workload = head(workload, requests)
    if share is not None:
        workload = thinned(workload, share, seed)
    return workload


def _paced(workload: Workload, rate: str | None, rates: Path | None) -> Workload:
    from servecast.primitives.units import parse_rate
    from servecast.traces.rate_curve import read_rate_curve
    from servecast.traces.reshape import rescale

    rate_per_s = None if rate is None else parse_rate(rate, positive=True)
    if rates is not None:
        curve = read_rate_curve(rates)
        return (curve.with_mean(rate_per_s) if rate_per_s else curve).applied_to(workload)
    return rescale(workload, rate_per_s) if rate_per_s else workload


def _written(out: Output, target: Path, requests: int) -> None:
    if out.json_mode:
        out.data({"written": str(target), "requests": requests})
    else:
        out.line(f"wrote {literal(target)}: {requests:,} requests")


def _show(out: Output, name: str, found: Statistics) -> None:
    arrivals = found.arrivals
    out.line(f"[bold]{literal(name)}[/]: {found.rows:,} requests")
    if arrivals is not None:
        cv = "–" if arrivals.interarrival_cv is None else f"{arrivals.interarrival_cv:.2f}"
        out.line(f"{arrivals.span_s:,.1f} s, {arrivals.rate_per_s:.3f} req/s, gap CV {cv}\n")
        rows = (
            (f"{w.window_s} s", f"{w.index_of_dispersion:.2f}", f"{w.peak_over_mean:.2f}")
            for w in arrivals.windows
        )
        out.table(("window", "index of dispersion", "peak / mean"), rows)
    if found.sessions is not None:
        waits = found.sessions
        out.line(
            f"{waits.sessions:,} sessions of {waits.requests_mean:.1f} requests on average, "
            f"{waits.requests_max:,} at most; think time p50 {waits.think_p50_s:,.1f} s, "
            f"p99 {waits.think_p99_s:,.1f} s"
        )
    out.line()
    columns = ("tokens", "mean", "p50", "p95", "p99", "max")
    lengths = (_lengths("input", found.input_tokens), _lengths("output", found.output_tokens))
    out.table(columns, lengths)
    if found.classes:
        out.line()
        out.table(("class", "requests", "input mean", "p95", "output mean", "p95"), _classes(found))
    if found.correlation is not None:
        out.line(f"\ncorrelation of input and output length {found.correlation:+.2f}")
    if found.prefixes is not None:
        shared = found.prefixes
        out.line(
            f"\nprompts begin alike: a cache that forgets nothing finds {shared.token_hit:.1%} of "
            f"their tokens and grows to {shared.unique_blocks:,} blocks of {shared.block_tokens}"
        )


def _classes(found: Statistics) -> Iterator[list[str]]:
    for one in found.classes:
        tokens = (one.input_tokens, one.output_tokens)
        figures = (f"{value:,.1f}" for each in tokens for value in (each.mean, each.p95))
        yield [literal(one.name), f"{one.requests:,}", *figures]


def _lengths(name: str, tokens: TokenStatistics) -> list[str]:
    values = (tokens.mean, tokens.p50, tokens.p95, tokens.p99, tokens.max)
    return [name, *(f"{value:,.1f}" for value in values)]
