"""Quantities as people write them: `200ms`, `720/min`, `99%` to SI and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from servecast.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Quantity:
    """A kind of quantity: the factor of each unit to SI, and an example for error messages."""

    name: str
    factors: Mapping[str, Decimal]
    example: str


def _factors(**powers: str) -> dict[str, Decimal]:
    return {unit: Decimal(factor) for unit, factor in powers.items()}


TIME = Quantity(
    "time",
    _factors(ns="1e-9", us="1e-6", ms="1e-3", s="1", min="60", h="3600"),
    "200ms",
)
RATE = Quantity(
    "rate",
    {
        f"{counted}/{period}": 1 / Decimal(seconds)
        for counted in ("", "req", "requests", "tok", "tokens")
        for period, seconds in (("s", 1), ("min", 60), ("h", 3600))
    }
    | {"rps": Decimal(1), "rpm": 1 / Decimal(60)},
    "12/s",
)
SHARE = Quantity("share", {"%": Decimal("0.01")}, "99%")

_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)(.*)", re.DOTALL)


def parse(
    value: str | float, quantity: Quantity, *, bare: str | None = None, positive: bool = False
) -> float:
    """The quantity in SI units, never negative, infinite or NaN (and not 0 where `positive`).

    `bare` is the unit of a number that comes without one; None refuses such a number. Decimal
    arithmetic makes `35ms` the float nearest to 0.035.
    """
    found = _NUMBER.fullmatch(value.strip() if isinstance(value, str) else _plain(value))
    if found is None:
        raise _refused(value, quantity, "is not a number with a unit")
    number, unit = found[1], re.sub("[µμ]s", "us", found[2].strip()) or bare
    if unit is None:
        raise _refused(value, quantity, "has no unit")
    factor = Decimal(1) if unit == "" else quantity.factors.get(unit)
    if factor is None:
        near = nearest(unit, quantity.factors)
        raise _refused(value, quantity, f"has the unknown unit `{unit}`", near)
    result = float(Decimal(number) * factor)
    if not math.isfinite(result):
        raise _refused(value, quantity, "is not finite")
    if result < 0 or (positive and result == 0):
        raise _refused(value, quantity, "is not above 0" if positive else "is below 0")
    return result


def parse_seconds(value: str | float, *, bare: str | None = None, positive: bool = False) -> float:
    """Seconds of a text such as `200ms`, `1.5 s`, `2min`."""
    return parse(value, TIME, bare=bare, positive=positive)


def parse_rate(value: str | float, *, bare: str | None = "/s", positive: bool = False) -> float:
    """Events per second of `12/s`, `12 rps`, `720/min` or, by default, of a plain number."""
    return parse(value, RATE, bare=bare, positive=positive)


def parse_share(value: str | float) -> float:
    """A share between 0 and 1 of `99%` or 0.99."""
    share = parse(value, SHARE, bare="")
    if share > 1:
        raise _refused(value, SHARE, "is more than the whole")
    return share


def exact(value: float, unit: str, quantity: Quantity) -> str:
    """The shortest text that `parse` reads back as exactly `value`, which is in SI.

    A space before `unit` is kept: `" tok/s"` gives `1000 tok/s`.
    """
    scaled = (Decimal(repr(value)) / quantity.factors[unit.strip()]).normalize()
    return f"{scaled:f}{unit}"


def _plain(value: float) -> str:
    """The digits of a number that did not come as text; infinities and NaN match no number."""
    return str(value) if isinstance(value, int) else repr(float(value))


def _refused(
    value: str | float, quantity: Quantity, rule: str, near: str | None = None
) -> InputError:
    meant = f"did you mean the unit `{near}`? " if near else ""
    units = ", ".join(list(quantity.factors)[:6])
    return InputError(
        f"{quantity.name} `{value}` {rule}",
        hint=f"{meant}write it as `{quantity.example}` (units: {units})",
    )


_UNDEFINED = "–"


def format_seconds(seconds: float) -> str:
    """A time for people, three figures: `12.3 µs`, `200 ms`, `1.25 s`, `12.5 min`, `3.2 h`."""
    if not math.isfinite(seconds):
        return _UNDEFINED
    if seconds == 0:
        return "0 s"
    for limit, factor, unit in (
        (1e-3, 1e6, "µs"),
        (1, 1e3, "ms"),
        (120, 1, "s"),
        (7200, 1 / 60, "min"),
    ):
        if abs(seconds) < limit:
            return f"{_figures(seconds * factor)} {unit}"
    return f"{_figures(seconds / 3600)} h"


def format_count(count: float) -> str:
    """A count (of tokens, say) for people: `8192`, `12.5k`, `1.5M`."""
    if not math.isfinite(count):
        return _UNDEFINED
    for limit, factor, unit in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if abs(count) < limit:
            return f"{_figures(count / factor)}{unit}"
    return f"{_figures(count / 1e9)}B"


def format_rate(per_s: float, counted: str = "") -> str:
    """A rate for people: `12/s`, or `12.5k tok/s` with `counted="tok"`."""
    return f"{format_count(per_s)} {counted}/s" if counted else f"{format_count(per_s)}/s"


def format_share(share: float) -> str:
    """A share for people: `99.2%`."""
    return f"{100 * share:.1f}%" if math.isfinite(share) else _UNDEFINED


def _figures(value: float) -> str:
    """Three significant figures without an exponent; whole numbers above 1000 keep theirs."""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:.0f}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
