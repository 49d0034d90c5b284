"""The grammar of service level objectives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.simulator.slo import Operator, Slo, for_all, for_class, parse_slo
from servecast.simulator.vocabulary import Metric


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("ttft:p95 < 500ms", Slo("ttft", "p95", "<", 0.5)),
        ("ttft:p95<0.5s", Slo("ttft", "p95", "<", 0.5)),
        ("TPOT:P99.90 <= 40 ms", Slo("tpot", "p99.9", "<=", 0.04)),
        ("itl:max < 1s", Slo("itl", "max", "<", 1.0)),
        ("e2e:mean<2min", Slo("e2e", "mean", "<", 120.0)),
        ("request-latency:median < 3s", Slo("e2e", "p50", "<", 3.0)),
        ("attainment > 99%", Slo("attainment", None, ">", 0.99)),
        ("attainment >= 100%", Slo("attainment", None, ">=", 1.0)),
        ("goodput >= 300/min", Slo("goodput", None, ">=", 5.0)),
        ("throughput > 1000 tok/s", Slo("throughput", None, ">", 1000.0)),
    ],
)
def test_reads(text: str, slo: Slo) -> None:
    assert parse_slo(text) == slo


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("time_to_first_token:p95:lt:200", Slo("ttft", "p95", "<", 0.2)),
        ("request_latency:avg:le:1500", Slo("e2e", "mean", "<=", 1.5)),
        ("time_to_first_token:p95:lt:0.2s", Slo("ttft", "p95", "<", 0.2)),
        ("output_token_throughput:avg:ge:1000", Slo("throughput", None, ">=", 1000.0)),
        ("good_request_fraction:avg:ge:0.95", Slo("attainment", None, ">=", 0.95)),
    ],
)
def test_reads_the_form_of_aiperf_with_times_in_ms(text: str, slo: Slo) -> None:
    assert parse_slo(text) == slo


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("chat: ttft:p95 < 500ms", Slo("ttft", "p95", "<", 0.5, "chat")),
        ("batch-2:e2e:max<=60s", Slo("e2e", "max", "<=", 60.0, "batch-2")),
        ("chat: attainment > 99%", Slo("attainment", None, ">", 0.99, "chat")),
        ("chat : goodput >= 5/s", Slo("goodput", None, ">=", 5.0, "chat")),
        ("chat:time_to_first_token:p95:lt:200", Slo("ttft", "p95", "<", 0.2, "chat")),
        ("p95: ttft:p95 < 1s", Slo("ttft", "p95", "<", 1.0, "p95")),
    ],
)
def test_reads_the_class_that_it_is_about(text: str, slo: Slo) -> None:
    assert parse_slo(text) == slo
    assert parse_slo(str(slo)) == slo
    assert for_class(for_all(slo), str(slo.request_class)) == slo


def test_an_objective_is_about_one_class_at_most() -> None:
    with pytest.raises(InputError, match="already about a class"):
        for_class(parse_slo("chat: ttft:p95 < 1s"), "batch")


def test_inter_token_latency_of_aiperf_is_one_number_per_request() -> None:
    assert parse_slo("inter_token_latency:p90:le:40").metric == "tpot"


@pytest.mark.parametrize(
    ("text", "rule", "hint"),
    [
        ("tpot < 40ms", "no statistic", "tpot:p95 < 40ms"),
        ("tpott:p95 < 40ms", "metric `tpott` is unknown", "`tpot`"),
        ("time_to_frst_token:p95:lt:3", "unknown", "`time_to_first_token`"),
        ("ttft:p59x < 1s", "statistic `p59x` is unknown", "`p9"),
        ("ttft:p0 < 1s", "not between 0 and 100", "p95"),
        ("ttft:p100 < 1s", "not between 0 and 100", "max"),
        ("ttft:p95 > 1s", "upper limit", None),
        ("goodput < 5/s", "floor", None),
        ("ttft:p95 < 1", "no unit", "200ms"),
        ("ttft:p95 < nan", "not a number", None),
        ("ttft:p95 < 0ms", "not above 0", None),
        ("ttft:p95 < -1ms", "not above 0", None),
        ("goodput > -1", "not above 0", None),
        ("attainment > 100%", "never hold", ">= 100%"),
        ("attainment > 99", "more than the whole", "99%"),
        ("attainment:p95 > 99%", "one number", "attainment > 99%"),
        ("ttft:p95:below:3", "unknown operator `below`", "lt"),
        ("ttft:p95", "not of the form", "ttft:p95 < 500ms"),
        ("", "not of the form", "ttft:p95 < 500ms"),
        ("chat: tfft:p95 < 1s", "metric `tfft` is unknown", "`ttft`"),
        ("chat: atainment > 9%", "metric `atainment` is unknown", "`attainment`"),
        ("chat: ttft < 1s", "no statistic", "ttft:p95 < 1s"),
        ("my chat: ttft:p95 < 1s", "`my chat` is no name of a class", "letters"),
        ("chat: itl:p95 < 40ms", "pooled over all tokens", "chat: tpot:p95"),
        ("a: b: ttft:p95 < 1s", "not of the form", "ttft:p95 < 500ms"),
    ],
)
def test_refuses_naming_the_rule_and_the_way_out(text: str, rule: str, hint: str | None) -> None:
    with pytest.raises(InputError) as told:
        parse_slo(text)
    assert rule in told.value.message
    assert hint is None or hint in (told.value.hint or "")


POSITIVE = st.floats(min_value=1e-12, max_value=1e12)
LATENCIES = st.builds(
    Slo,
    st.sampled_from(["ttft", "itl", "tpot", "e2e"]),
    st.sampled_from(["mean", "max", "p50", "p95", "p99.9", "p0.5"]),
    st.sampled_from(["<", "<="]),
    POSITIVE,
)
FLOORS = st.one_of(
    st.builds(Slo, st.just("attainment"), st.none(), st.just(">="), st.floats(0, 1)),
    st.builds(
        Slo,
        st.sampled_from(["goodput", "throughput"]),
        st.none(),
        st.sampled_from([">", ">="]),
        POSITIVE,
    ),
)


@given(LATENCIES | FLOORS)
def test_its_text_reads_back_as_itself(slo: Slo) -> None:
    assert parse_slo(str(slo)) == slo


@given(st.text())
def test_any_text_is_an_objective_or_an_input_error(text: str) -> None:
    try:
        slo = parse_slo(text)
    except InputError:
        return
    assert parse_slo(str(slo)) == slo


@pytest.mark.parametrize(
    ("sign", "met"), [("<", (True, False, False)), ("<=", (True, True, False))]
)
def test_met_by_a_value_below_at_and_above(sign: Operator, met: tuple[bool, ...]) -> None:
    slo = Slo("ttft", "p95", sign, 0.5)
    assert tuple(slo.met_by(value) for value in (0.4, 0.5, 0.6)) == met
    assert not slo.met_by(math.nan)


@pytest.mark.parametrize(
    ("metric", "limits"),
    [("ttft", True), ("tpot", True), ("e2e", True), ("itl", False), ("goodput", False)],
)
def test_limits_single_requests_except_itl_and_floors(metric: Metric, limits: bool) -> None:
    assert Slo(metric, "p95", "<", 1.0).limits_requests is limits


def test_percentile_is_none_for_mean_and_max() -> None:
    assert parse_slo("ttft:p99.9 < 1s").percentile == 99.9
    assert parse_slo("ttft:max < 1s").percentile is None
