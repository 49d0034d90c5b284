"""The tables of errors that README.md and the documents show, in Markdown."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy_sections import Scores, Section
from benchmarks.coefficient_file import FitHead, read_file
from benchmarks.coefficient_problem import UNKNOWNS
from benchmarks.marked_text import table
from servecast.primitives.coefficients import Coefficients, CostKind
from servecast.profiler.validate import NOISE_FLOOR, Errors, Pairs

TITLES: Mapping[CostKind, str] = {"tables": "measured tables", "roofline": "roofline"}
METRICS = ("tpot_ms", "ttft_ms")


def by_engine(scores: Scores) -> str:
    """Every section: as shipped, left out, the textbook roofline, and what the bands cover."""
    columns = ("rows", "n", "TPOT", "left out", "TTFT", "left out", "naive", "in band")
    rows = [_full_row(section) for section in (*scores.sections, *scores.set_aside)]
    return table(columns, rows)


def by_family(scores: Scores) -> str:
    """A row a family, with throughput."""
    columns = ("rows", "n", "TPOT", "TTFT", "tok/s/GPU")
    rows = [
        (_name(each), f"{_count(each.shipped):,}", *_as_shipped(each.shipped))
        for each in scores.sections
        if each.is_whole
    ]
    return table(columns, rows)


def headline(found: Mapping[CostKind, Scores]) -> str:
    """For the README: left out of the fit, by both kinds of costs, beside the textbook's.

    Own sweeps have one line, as nobody knows how they were run.
    """
    columns = ("rows", "n", "metric", *(TITLES[kind] for kind in found), "naive roofline")
    rows: list[tuple[str, ...]] = []
    by_kind = [
        {_name(each): each for each in s.sections if _is_headline(each)} for s in found.values()
    ]
    for name, first in by_kind[0].items():
        for metric in METRICS:
            errors = [kind[name].left_out.errors(metric) for kind in by_kind]
            naive = first.shipped.errors(metric, naive=True)
            cells = [_short(each) for each in (*errors, naive)]
            rows.append((name, f"{_count(first.shipped):,}", metric[:4].upper(), *cells))
    return table(columns, rows)


def ranks(found: Mapping[CostKind, Scores]) -> str:
    """What ordering is worth, and how far repeats of one configuration differ."""
    lines = [
        f"- {TITLES[kind].capitalize()}: rank correlation in {s.sets} sets of rows that differ in "
        f"load and cut alone: TPOT {s.ranks[0]:.3f}, TTFT {s.ranks[1]:.3f} (medians)."
        for kind, s in found.items()
    ]
    floor = "; ".join(
        f"{metric[:4].upper()} {median * 100:.1f} % (median), {tail * 100:.0f} % (P90)"
        for metric, (median, tail) in NOISE_FLOOR.items()
    )
    return "\n".join([*lines, f"- Noise floor, highest over lowest of one configuration: {floor}."])


def refusals(reasons: Counter[str]) -> str:
    """Why rows are not forecast, and how many."""
    rows = [(f"{count:,}", reason) for reason, count in reasons.most_common()]
    return table(("rows", "refused because"), rows)


def coefficients(kinds: Sequence[CostKind]) -> str:
    """Both sets beside the defaults, with what the fit of each is worth."""
    files = {kind: read_file(kind) for kind in kinds}
    rows: list[tuple[str, ...]] = []
    for unknown in UNKNOWNS:
        default = getattr(Coefficients(), unknown.name)
        cells = [_coefficient(files[kind].coefficients.get(unknown.name)) for kind in kinds]
        bounds = f"{unknown.low:g}–{unknown.high:g}"
        rows.append((f"`{unknown.name}`", f"{default:g}", bounds, *cells))
    columns = ("coefficient", "default", "bounds", *(TITLES[kind] for kind in kinds))
    worth = [_worth(TITLES[kind], files[kind].fit) for kind in kinds]
    return "\n".join([table(columns, rows), "", *worth])


def bands(path: Path) -> str:
    """The shipped bands."""
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    columns = ("metric", "costs", "family", "points / groups", "factors", "widened")
    rows = [
        (
            *(row["metric"][:4].upper(), row["costs"], f"{row['model']}, {row['rows']}"),
            f"{int(row['points']):,} / {row['groups']}",
            f"{float(row['low']):.2f}–{float(row['high']):.2f}",
            f"× {float(row['widened']):.2f}" if float(row["widened"]) > 1 else "–",
            f"{float(row['in_sample']) * 100:.1f}",
            f"{float(row['left_out']) * 100:.1f}",
        )
        for row in found
    ]
    return table((*columns, "in-sample %", "left out %"), rows)


def _full_row(section: Section) -> tuple[str, ...]:
    shipped, left_out = section.shipped, section.left_out
    cells: list[str] = []
    for metric in METRICS:
        cells += [errors_cell(shipped.errors(metric)), _short(left_out.errors(metric))]
    naive = " / ".join(percent(shipped.errors(m, naive=True).median, 0) for m in METRICS)
    covered = " / ".join(percent(shipped.errors(m).covered, 0) for m in METRICS)
    return (_name(section), f"{_count(shipped):,}", *cells, naive, covered)


def _as_shipped(pairs: Pairs) -> list[str]:
    cells: list[str] = []
    for metric in METRICS:
        naive = pairs.errors(metric, naive=True).median
        cells.append(f"{errors_cell(pairs.errors(metric))} ({percent(naive, 0)})")
    return [*cells, errors_cell(pairs.errors("out_tok_s_per_gpu"))]


def _name(section: Section) -> str:
    if section.engine and section.origin != "set aside":
        return f"– {section.engine}"
    parts = [section.origin, section.family, section.engine]
    return ", ".join(dict.fromkeys(part for part in parts if part))


def _is_headline(section: Section) -> bool:
    return section.is_whole and (section.origin == "InferenceX" or section.family == "all")


def _count(pairs: Pairs) -> int:
    return pairs.errors("tpot_ms").count


def errors_cell(errors: Errors) -> str:
    """Median, P90 and signed median of errors, in percent."""
    signed = errors.signed * 100
    return f"{_short(errors)} / {signed:+.1f}".replace("-", "−")


def _short(errors: Errors) -> str:
    return f"{errors.median * 100:.1f} / {errors.p90 * 100:.1f}"


def percent(share: float, digits: int) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if share != share else f"{share * 100:.{digits}f}"


def _coefficient(found: Mapping[str, float] | None) -> str:
    return "default" if found is None else f"{found['value']:.3g} ± {found['spread']:.2g}"


def _worth(title: str, fit: FitHead) -> str:
    stages = [
        f"{stage} TPOT {errors['tpot_ms']}, TTFT {errors['ttft_ms']} (score {fit.score[stage]:.3f})"
        for stage, errors in fit.error_percent.items()
    ]
    shown = "; ".join(stages).replace(" -", " −")
    return f"- {title.capitalize()}, {fit.rows} rows of {fit.groups} groups: {shown}."
