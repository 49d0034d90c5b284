"""`servecast calibrate`: a cost model fitted to the user's own benchmark runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, counted, literal

if TYPE_CHECKING:
    from servecast.bench_results import BenchResult
    from servecast.primitives.deployment import Deployment
    from servecast.search.calibrate import Fit

Runs = list[tuple[str, "BenchResult"]]

_MEANING = {
    "bandwidth_factor": "× time of bandwidth-bound work (decode)",
    "compute_factor": "× time of compute-bound work (prefill)",
    "host_step_s": "engine's own time a step",
    "host_sequence_s": "engine's own time a sequence and step",
}


def calibrate(
    scenario: Annotated[Path, typer.Argument(help="The server that ran, every choice fixed.")],
    results: Annotated[
        list[Path], typer.Argument(help="What `vllm bench serve --save-result` wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML to write.")] = Path(
        "calibration.yaml"
    ),
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Fit four coefficients to your own benchmark runs.

    `simulate` and `recommend` take the file that it writes by --calibration.
    """
    from servecast.bench_results import read_results
    from servecast.calibration_file import calibration_text
    from servecast.domain import deployment
    from servecast.loading import load
    from servecast.writing import require_writable, write_text

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario)
    deployed = deployment(found)
    runs = [(path.name, run) for path in results for run in read_results(path)]
    require_writable(output.parent)
    fit = _fitted(out, deployed, runs, found.seed)
    write_text(output, calibration_text(fit.calibration, deployed, len(runs)))
    if out.json_mode:
        out.data(_document(output, runs, fit))
    else:
        _show(out, runs, fit)
        out.note(f"\nwrote {literal(output)}")


def _fitted(out: Output, deployed: Deployment, runs: Runs, seed: int) -> Fit:
    from servecast.primitives.roofline import RooflineSource
    from servecast.search.calibrate import Fitter, Observation

    observations = [
        Observation(run.workload(name, seed), run.mean_ttft_ms / 1e3, run.mean_tpot_ms / 1e3)
        for name, run in runs
    ]
    with out.progress("reading") as bar:
        return Fitter(deployed, observations, RooflineSource()).fit(bar.stage)


def _document(output: Path, runs: Runs, fit: Fit) -> dict[str, object]:
    from dataclasses import asdict

    ratios = {"before": fit.before, "after": fit.after, "left_out": fit.left_out}
    rows = [
        {
            "file": name,
            "measured_ms": {"ttft": run.mean_ttft_ms, "tpot": run.mean_tpot_ms},
            "forecast_over_measured": {
                key: None if all_ is None else {"ttft": all_[row, 0], "tpot": all_[row, 1]}
                for key, all_ in ratios.items()
            },
        }
        for row, (name, run) in enumerate(runs)
    ]
    return {"written": str(output), "calibration": asdict(fit.calibration), "runs": rows}


def _show(out: Output, runs: Runs, fit: Fit) -> None:
    """Every run's error before, after and left out; the coefficients; whether to trust them."""
    columns = ("run", "load", "metric", "measured", "before", "after", "left out")
    out.line("error of the forecast in %\n")
    out.table(columns, [row for index in range(len(runs)) for row in _rows(runs, fit, index)])
    c = fit.calibration
    values = (
        f"{c.bandwidth_factor:.3f}",
        f"{c.compute_factor:.3f}",
        f"{c.host_step_s * 1e3:.2f} ms",
        f"{c.host_sequence_s * 1e6:.1f} µs",
    )
    out.line()
    named = zip(_MEANING.items(), values, strict=True)
    out.table(("coefficient", "value", ""), [(name, v, means) for (name, means), v in named])
    out.line(f"\n{_verdict(fit)}")


def _rows(runs: Runs, fit: Fit, index: int) -> list[tuple[str, ...]]:
    name, run = runs[index]
    rows: list[tuple[str, ...]] = []
    for column, metric, measured_ms in (
        (0, "TTFT", run.mean_ttft_ms),
        (1, "TPOT", run.mean_tpot_ms),
    ):
        left_out = "–" if fit.left_out is None else _percent(fit.left_out[index, column])
        errors = (_percent(fit.before[index, column]), _percent(fit.after[index, column]), left_out)
        rows.append((literal(name), run.pace(), metric, f"{measured_ms:.4g} ms", *errors))
    return rows


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f}"


def _verdict(fit: Fit) -> str:
    """Whether runs that took no part are forecast better than before."""
    import numpy as np

    if fit.left_out is None:
        return "one run alone: nothing tells whether the fit holds for another"
    before, left_out = (float(np.abs(np.log(r)).mean()) for r in (fit.before, fit.left_out))
    shares = f"{before:.1%} before, {left_out:.1%} with {counted(1, 'run')} left out"
    if left_out < before:
        return f"mean error {shares}"
    return (
        f"[yellow]not an improvement[/]: mean error {shares}; more runs, or other loads, may help"
    )
