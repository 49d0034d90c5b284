"""Quantities: what people write becomes SI, and nothing that is no quantity does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("35 ms", 0.035),
        ("1.5s", 1.5),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("250us", 250e-6),
        ("250 µs", 250e-6),
        (" 7ns ", 7e-9),
        ("1e3ms", 1.0),
        ("0s", 0.0),
    ],
)
def test_seconds(text: str, seconds: float) -> None:
    assert units.parse_seconds(text) == seconds


def test_a_bare_number_is_a_time_only_where_its_unit_is_agreed() -> None:
    assert units.parse_seconds("200", bare="ms") == 0.2
    assert units.parse_seconds(200, bare="ms") == 0.2
    with pytest.raises(InputError, match="`200` has no unit"):
        units.parse_seconds("200")


@pytest.mark.parametrize(
    "text", ["12/s", "12 rps", "720/min", "12 req/s", "43200/h", "12", "720 rpm"]
)
def test_one_rate_in_many_forms(text: str) -> None:
    assert units.parse_rate(text) == 12.0


@pytest.mark.parametrize(("value", "share"), [("99%", 0.99), ("0.99", 0.99), (0.5, 0.5), ("0%", 0)])
def test_shares(value: str | float, share: float) -> None:
    assert units.parse_share(value) == share


@pytest.mark.parametrize("value", ["99", "101%", 1.01])
def test_no_share_is_above_the_whole(value: str | float) -> None:
    with pytest.raises(InputError, match="more than the whole"):
        units.parse_share(value)


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", math.nan, math.inf, "1e999", "", "fast", True]
)
def test_what_is_no_finite_number_is_refused(value: str | float) -> None:
    with pytest.raises(InputError, match=r"not a number|not finite") as told:
        units.parse_rate(value)
    assert "`12/s`" in (told.value.hint or "")


def test_negative_and_where_told_zero_are_refused() -> None:
    with pytest.raises(InputError, match="rate `-1/s` is below 0"):
        units.parse_rate("-1/s")
    assert units.parse_rate("0/s") == 0
    with pytest.raises(InputError, match="rate `0/s` is not above 0"):
        units.parse_rate("0/s", positive=True)


def test_an_unknown_unit_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown unit `sek`") as told:
        units.parse_seconds("3sek")
    assert "`s`" in (told.value.hint or "")


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False), st.sampled_from(["ms", "s"]))
def test_exact_text_reads_back_as_the_same_number(seconds: float, unit: str) -> None:
    assert units.parse_seconds(units.exact(seconds, unit, units.TIME)) == seconds


@given(st.text())
def test_any_text_is_a_quantity_or_an_input_error(text: str) -> None:
    for parse in (units.parse_seconds, units.parse_rate, units.parse_share):
        try:
            result = parse(text)
        except InputError:
            continue
        assert math.isfinite(result)
        assert result >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (1.23e-5, "12.3 µs"),
        (0.04, "40 ms"),
        (0.2304, "230 ms"),
        (1.25, "1.25 s"),
        (600.0, "10 min"),
        (36000.0, "10 h"),
        (math.nan, "–"),
    ],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert units.format_seconds(seconds) == text


def test_counts_rates_and_shares_for_people() -> None:
    assert [units.format_count(n) for n in (512, 8192, 12_500, 1.5e6)] == [
        "512",
        "8192",
        "12.5k",
        "1.5M",
    ]
    assert units.format_rate(12) == "12/s"
    assert units.format_rate(12_500, "tok") == "12.5k tok/s"
    assert units.format_share(0.992) == "99.2%"
    assert units.format_count(math.nan) == "–"
