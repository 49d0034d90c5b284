"""Quantities in a trace file: how the text of a cell becomes an exact integer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

NS_PER_S = 1_000_000_000
MAX_ARRIVAL_NS = 9_000_000_000 * NS_PER_S
"""Year 2255 as a Unix time: beyond it a number is not in the unit its column says."""
MAX_TOKENS = 1_000_000_000
MAX_PRIORITY = 1_000_000_000
_MAX_EXPONENT = 40


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a column holds: `parse` gives a cell's integer or raises ValueError, `rule` says why."""

    parse: Callable[[str], int]
    rule: str


def scaled_integer(text: str, digits: int) -> int:
    """The number `text` times 10**digits, exact, rounded half to even; ValueError if no number."""
    whole, _, fraction = text.partition(".")
    plain = whole.isdecimal() and (fraction.isdecimal() or not fraction)
    if plain and len(fraction) <= digits:
        return int(whole + fraction.ljust(digits, "0"))
    return _scaled_by_fraction(text, digits)


def _scaled_by_fraction(text: str, digits: int) -> int:
    number = _finite(text)
    return round(Fraction(number) * int(10**digits)) if number else 0


def _finite(text: str) -> Decimal:
    """The number, 0 where it is too small to matter; ValueError if it is none or is huge."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(text) from None
    if not number.is_finite() or "_" in text or number.adjusted() > _MAX_EXPONENT:
        raise ValueError(text)
    return number if number.adjusted() >= -_MAX_EXPONENT else Decimal(0)


def _arrival_ns(text: str, digits: int) -> int:
    arrival_ns = scaled_integer(text, digits)
    if not 0 <= arrival_ns <= MAX_ARRIVAL_NS:
        raise ValueError(text)
    return arrival_ns


def _tokens(text: str) -> int:
    tokens = int(text) if text.isdecimal() else _whole(text)
    if not 1 <= tokens <= MAX_TOKENS:
        raise ValueError(text)
    return tokens


def _priority(text: str) -> int:
    priority = _whole(text) if text else 0
    if abs(priority) > MAX_PRIORITY:
        raise ValueError(text)
    return priority


def _row(text: str) -> int:
    row = _whole(text) if text else -1
    if row < -1:
        raise ValueError(text)
    return row


def _whole(text: str) -> int:
    """An integer written otherwise, such as ` 12` or the `12.0` of a table with gaps."""
    number = Fraction(_finite(text))
    if number.denominator != 1:
        raise ValueError(text)
    return number.numerator


SECONDS = Quantity(
    lambda text: _arrival_ns(text, 9), f"a number of seconds from 0 to {MAX_ARRIVAL_NS // NS_PER_S}"
)
MILLISECONDS = Quantity(
    lambda text: _arrival_ns(text, 6),
    f"a number of milliseconds from 0 to {MAX_ARRIVAL_NS // NS_PER_S * 1000}",
)
PRIORITY = Quantity(_priority, f"a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
ROW = Quantity(_row, "the number of an earlier row, from 0 on, or -1")
PAUSE = Quantity(lambda text: SECONDS.parse(text) if text else 0, SECONDS.rule)
TOKENS = Quantity(_tokens, f"a whole number of tokens from 1 to {MAX_TOKENS}")
