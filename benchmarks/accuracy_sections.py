"""Forecasts of the development part, sorted into the sections that the documents show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.development_part import family_of, is_set_aside
from servecast.errors import InputError
from servecast.profiler.bands import family_of as band_family
from servecast.profiler.bands import tpot_band, ttft_band
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Prediction
from servecast.profiler.validate import Pairs, validate

LEAST_IN_SET = 8
"""Rows of one model, GPU, engine, format and lengths that are worth ranking."""
ENGINES = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
FAMILIES = (
    *("dense", "gpt-oss, MiniMax", "DeepSeek", "Kimi, Qwen3.5, GLM-5"),
    "Qwen3-235B, gpt-oss",
)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that are scored together: with the coefficients that ship, and left out of the fit."""

    origin: str
    family: str
    engine: str
    """Blank where a section has all engines."""
    shipped: Pairs
    left_out: Pairs

    @property
    def is_whole(self) -> bool:
        """Whether it has every engine's rows."""
        return not self.engine


@dataclass(frozen=True, slots=True)
class Scores:
    """All that is said of forecasts by one kind of costs."""

    sections: Sequence[Section]
    set_aside: Sequence[Section]
    refusals: Counter[str]
    sets: int
    """Sets of rows that differ in load and cut alone."""
    ranks: tuple[float, float]
    """Median over these sets of the rank correlation, TPOT and TTFT."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """One kind of costs: what is forecast as shipped, and with each row's group left out."""

    measured: Sequence[Measured]
    shipped: Sequence[Prediction]
    left_out: Sequence[Prediction]


def scores(found: Forecasts) -> Scores:
    """Every section, and why rows are refused."""
    shipped = [_banded(*pair) for pair in zip(found.measured, found.shipped, strict=True)]
    refusals = Counter(each.reason for each in shipped if each.status != "ok")
    banded = replace(found, shipped=shipped)
    odd = [is_set_aside(row.point) for row in found.measured]
    sections = list(_sections(_among(banded, [not each for each in odd])))
    sets, ranks = _ranks(banded)
    return Scores(sections, list(_odd(_among(banded, odd))), refusals, sets, ranks)


def _banded(row: Measured, prediction: Prediction) -> Prediction:
    """The prediction with the bands that ship now."""
    if prediction.ttft_ms is None or prediction.tpot_ms is None:
        return prediction
    family = band_family(row.point, prediction.provenance)
    tpot = tpot_band(family).around(prediction.tpot_ms)
    ttft = ttft_band(family).around(prediction.ttft_ms)
    return replace(
        prediction,
        tpot_low_ms=tpot[0],
        tpot_high_ms=tpot[1],
        ttft_low_ms=ttft[0],
        ttft_high_ms=ttft[1],
    )


def _sections(found: Forecasts) -> Iterator[Section]:
    """Families of InferenceX, then of own sweeps: whole, then by engine; last all together."""
    for origin, is_own in (("InferenceX", False), ("own sweeps", True)):
        for family in FAMILIES:
            own = [
                row.point.is_own_sweep == is_own and family_of(row.point) == family
                for row in found.measured
            ]
            yield from _by_engine(origin, family, _among(found, own))
        own = [row.point.is_own_sweep == is_own for row in found.measured]
        yield from _section(origin, "all", "", _among(found, own))
    yield from _section("all", "all", "", found)


def _by_engine(origin: str, family: str, found: Forecasts) -> Iterator[Section]:
    yield from _section(origin, family, "", found)
    engines = [row.point.engine for row in found.measured]
    if len(set(engines)) > 1:
        for engine, name in ENGINES.items():
            own = [each == engine for each in engines]
            yield from _section(origin, family, name, _among(found, own))


def _odd(found: Forecasts) -> Iterator[Section]:
    points = [row.point for row in found.measured]
    names = [f"{p.model.rpartition('/')[2]} {p.gpu.partition('-')[0]}" for p in points]
    for name in sorted(set(names)):
        chosen = _among(found, [each == name for each in names])
        for engine in sorted({row.point.engine for row in chosen.measured}):
            own = [row.point.engine == engine for row in chosen.measured]
            yield from _section("set aside", name, ENGINES[engine], _among(chosen, own))


def _section(origin: str, family: str, engine: str, found: Forecasts) -> Iterator[Section]:
    """The section, or nothing where no row of it is forecast."""
    if any(each.status == "ok" for each in found.shipped):
        shipped = validate(found.shipped, found.measured).total
        left_out = validate(found.left_out, found.measured).total
        yield Section(origin, family, engine, shipped, left_out)


def _among(found: Forecasts, chosen: Sequence[bool]) -> Forecasts:
    def own(items: Sequence[Prediction]) -> list[Prediction]:
        return [each for each, is_in in zip(items, chosen, strict=True) if is_in]

    measured = [row for row, is_in in zip(found.measured, chosen, strict=True) if is_in]
    return Forecasts(measured, own(found.shipped), own(found.left_out))


def _ranks(found: Forecasts) -> tuple[int, tuple[float, float]]:
    sets: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, (row, each) in enumerate(zip(found.measured, found.shipped, strict=True)):
        p = row.point
        if each.status == "ok":
            sets[p.model, p.gpu, p.engine, p.precision, p.isl, p.osl].append(index)
    pairs: list[tuple[float, float]] = []
    for own in sets.values():
        if len(own) >= LEAST_IN_SET:
            rows = [found.measured[index] for index in own]
            total = validate([found.shipped[index] for index in own], rows).total
            pairs.append((total.errors("tpot_ms").rank, total.errors("ttft_ms").rank))
    if not pairs:
        raise InputError("no set of rows is large enough to be ranked")
    tpot, ttft = np.nanmedian(np.array(pairs), axis=0)
    return len(pairs), (float(tpot), float(ttft))
