from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.traces.azure import utc_ns
from servecast.traces.quantities import MILLISECONDS, SECONDS, TOKENS, scaled_integer


@pytest.mark.parametrize(
    ("text", "arrival_ns"),
    [
        ("0", 0),
        ("4.3146", 4_314_600_000),
        ("4.", 4_000_000_000),
        (".5", 500_000_000),
        (" 1.5 ", 1_500_000_000),
        ("1e-3", 1_000_000),
        ("-0.0", 0),
        ("1e-999999999", 0),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
    ],
)
def test_seconds_become_nanoseconds_exactly_and_halves_go_to_even(
    text: str, arrival_ns: int
) -> None:
    assert SECONDS.parse(text) == arrival_ns


@pytest.mark.parametrize(
    "text",
    ["", "nan", "inf", "-1", "1_0", "1e99", "1e999999999", "0x1", "9000000001", "1,5", "1/2"],
)
def test_what_is_no_time_from_zero_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        SECONDS.parse(text)


def test_milliseconds_are_a_thousandth() -> None:
    assert MILLISECONDS.parse("1500.25") == 1_500_250_000


@pytest.mark.parametrize(("text", "tokens"), [("1", 1), ("12.0", 12), (" 12", 12), ("1.2e1", 12)])
def test_whole_tokens_may_be_written_as_a_table_with_gaps_writes_them(
    text: str, tokens: int
) -> None:
    assert TOKENS.parse(text) == tokens


@pytest.mark.parametrize(
    "text", ["0", "-3", "12.0004", "12.5", "", "nan", "many", "1000000001", "1_000"]
)
def test_tokens_that_are_no_whole_number_above_zero_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        TOKENS.parse(text)


@given(
    number=st.decimals(min_value=-(10**9), max_value=10**9, places=12, allow_nan=False),
    digits=st.integers(0, 9),
)
def test_scaling_agrees_with_decimal_arithmetic(number: Decimal, digits: int) -> None:
    scaled = number.scaleb(digits).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    assert scaled_integer(str(number), digits) == int(scaled)


def test_an_azure_time_stamp_keeps_its_hundred_nanoseconds() -> None:
    later, earlier = utc_ns("2023-11-17 00:00:00.0000001"), utc_ns("2023-11-16 23:59:59.9999999")
    assert later - earlier == 200
    assert utc_ns("1970-01-02 00:00:01") == 86_401 * 10**9


def test_an_azure_time_stamp_of_2024_may_say_that_it_is_utc() -> None:
    plain = utc_ns("2024-05-10 00:00:00.009930")
    assert utc_ns("2024-05-10 00:00:00.009930+00:00") == plain
    assert utc_ns("2024-05-10T00:00:00.009930Z") == plain


@pytest.mark.parametrize(
    "text",
    ["12.5", "2023-13-16 18:15:46", "2023-11-16 18:15:60", "2023-11-16", "1969-01-01 00:00:00"],
)
def test_what_is_no_azure_time_stamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        utc_ns(text)
