"""The numbers that a run amounts to, from records made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.simulator.objective import parse_objective
from servecast.simulator.records import Records
from servecast.simulator.result import Result
from servecast.simulator.run_log import RunLog
from servecast.simulator.slo import parse_slo
from servecast.traces.classes import Classes
from tests.constant_cost import ConstantStepCost
from tests.made_records import made_records
from tests.toy_deployments import DENSE

THREE = made_records(
    arrival_s=[1.0, 2.0, 3.0],
    first_token_s=[1.5, 2.5, 4.0],
    finish_s=[3.5, 2.5, 6.0],
    output_tokens=[5, 1, 11],
)


def result(records: Records = THREE, **changes: object) -> Result:
    whole = Result(
        deployment=replace(DENSE, replicas=2, usd_per_gpu_hour=3.0),
        workload="made up",
        records=records,
        logs=[],
        cost=ConstantStepCost(20_000_000),
        arrived=len(records),
        rejected=np.zeros(0, dtype=np.int64),
        truncated=0,
        num_blocks=100,
        peak_blocks=10,
        is_open_loop=True,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_ttft_is_from_arrival_to_the_first_token() -> None:
    assert THREE.ttft_ns.tolist() == [500_000_000, 500_000_000, 1_000_000_000]
    assert result().ttft.mean == pytest.approx(2 / 3)
    assert result().latency("ttft", "max") == 1.0


def test_tpot_is_the_rest_over_the_tokens_after_the_first() -> None:
    assert THREE.tpot_ns[[0, 2]].tolist() == [500_000_000, 200_000_000]
    assert math.isnan(THREE.tpot_ns[1])
    assert result().tpot.mean == pytest.approx(0.35)


def test_e2e_is_from_arrival_to_the_last_token() -> None:
    assert result().e2e.p50 == 2.5
    assert result().e2e.max == 3.0


def test_any_percentile_is_interpolated() -> None:
    """E2E of 0.5, 2.5 and 3.0 s: rank 0.75 × 2 = 1.5."""
    assert result().latency("e2e", "p75") == pytest.approx(2.75)
    assert result().latency("tpot", "p25") == pytest.approx(0.275)


def test_itl_is_pooled_over_the_tokens_of_all_replicas() -> None:
    first, second = RunLog(), RunLog()
    first.append(0, 200_000_000, 10, 2, 0, 0, 0, 0)  # 10 steps of 20 ms, two tokens each
    second.append(0, 50_000_000, 1, 5, 0, 0, 64, 0)  # one of 50 ms beside a prompt
    second.stall_ns.append(1_000_000_000)
    pooled = result(logs=[first, second])
    assert pooled.itl.mean == pytest.approx((20 * 0.02 + 5 * 0.05 + 1.0) / 26)
    assert (pooled.itl.p50, pooled.itl.max) == (0.02, 1.0)
    assert pooled.latency("itl", "p96") == pytest.approx(0.05)


def test_rates_are_over_the_time_from_first_arrival_to_last_token() -> None:
    assert result().duration_s == 5.0
    assert result().output_tokens == 17
    assert result().throughput == pytest.approx(3.4)
    assert result().request_rate == pytest.approx(0.6)


def test_a_request_meets_all_limits_or_misses() -> None:
    """TTFT of the third is 1 s, TPOT of the first 0.5 s; the second has no TPOT to miss."""
    slos = [parse_slo("ttft:p95 < 1s"), parse_slo("tpot:mean < 500ms"), parse_slo("itl:p99 < 1ms")]
    assert result().meeting(slos[:1]).tolist() == [True, True, False]
    assert result().meeting([parse_slo("ttft:p95 <= 1s")]).tolist() == [True, True, True]
    assert result().meeting(slos).tolist() == [False, True, False]
    assert result().goodput(slos) == pytest.approx(1 / 5)


def test_attainment_counts_the_rejected_as_missed() -> None:
    slos = [parse_slo("ttft:p95 < 1s"), parse_slo("attainment > 40%")]
    assert result().attainment(slos) == pytest.approx(2 / 3)
    cramped = result(arrived=5, rejected=np.array([3, 4]))
    assert cramped.attainment(slos) == pytest.approx(2 / 5)
    assert cramped.reached(slos[1], slos) == pytest.approx(2 / 5)


def test_an_objective_is_reached_in_its_own_unit() -> None:
    slos = [parse_slo("ttft:p50 < 1s")]
    assert result().reached(slos[0], slos) == 0.5
    assert result().reached(parse_slo("throughput > 3 tok/s"), slos) == pytest.approx(3.4)
    assert result().reached(parse_slo("goodput > 1/s"), slos) == pytest.approx(0.4)


def test_cost_is_of_a_million_output_tokens_on_all_gpus() -> None:
    """Two GPUs at 3 $/h: 6 / 3600 $ a second for 3.4 tokens a second."""
    assert result().usd() == pytest.approx(6 / 3600 / 3.4 * 1e6)
    assert result().objective(parse_objective("cost"), []) == result().usd()
    assert result().objective(parse_objective("gpu_hours"), []) == pytest.approx(2 / 3600 / 3.4e-6)
    assert result().objective(parse_objective("throughput"), []) == pytest.approx(3.4)
    assert result().objective(parse_objective("ttft:max"), []) == 1.0


def test_without_a_price_the_cost_is_unknown() -> None:
    assert math.isnan(result(deployment=DENSE).usd())


def test_a_run_in_which_nothing_finished_has_no_latency_and_infinite_cost() -> None:
    nothing = result(made_records([], [], [], []), arrived=3)
    assert nothing.throughput == nothing.request_rate == nothing.goodput([]) == 0.0
    assert nothing.attainment([]) == 0.0
    assert math.isnan(nothing.ttft.p99)
    assert math.isnan(nothing.latency("e2e", "p75"))
    assert nothing.usd() == math.inf
    assert not nothing.is_overloaded


def test_a_part_of_the_run_is_a_run() -> None:
    part = result(arrived=5, rejected=np.array([3, 4])).among(THREE.rows(slice(0, 2)))
    assert (part.arrived, len(part.rejected)) == (2, 0)
    assert part.ttft.max == 0.5


CLASSES = Classes.of(["chat", "batch", "chat", "batch"])
"""Of the three that were served, and of one that was rejected."""


def of_two_classes() -> Result:
    return result(arrived=4, rejected=np.array([3]), classes=CLASSES)


def test_an_slo_of_a_class_is_about_its_requests_alone() -> None:
    found, slos = of_two_classes(), [parse_slo("chat: ttft:max < 900ms")]
    assert found.reached(parse_slo("chat: ttft:max < 1s"), slos) == 1.0
    assert found.reached(parse_slo("batch: ttft:max < 1s"), slos) == 0.5
    assert found.meeting(slos).tolist() == [True, True, False]
    assert found.attainment(slos) == 0.5


def test_the_attainment_of_a_class_counts_its_rejected_and_its_own_limits() -> None:
    found = of_two_classes()
    slos = [parse_slo("chat: ttft:max < 900ms"), parse_slo("e2e:max < 1h")]
    assert found.reached(parse_slo("chat: attainment > 1%"), slos) == 0.5
    assert found.reached(parse_slo("batch: attainment > 1%"), slos) == 0.5
    tighter = [*slos, parse_slo("e2e:max < 2.9s")]
    assert found.reached(parse_slo("chat: attainment > 1%"), tighter) == 0.5
    assert found.reached(parse_slo("attainment > 1%"), tighter) == 0.5


def test_rates_of_classes_are_over_the_whole_run_and_add_up() -> None:
    found = of_two_classes()
    chat, batch = (found.of_class(name) for name in ("chat", "batch"))
    assert chat.duration_s == batch.duration_s == found.duration_s == 5.0
    assert chat.throughput + batch.throughput == pytest.approx(found.throughput)
    assert (chat.arrived, batch.arrived, len(batch.rejected)) == (2, 2, 1)
    assert found.reached(parse_slo("chat: goodput > 1/s"), []) == pytest.approx(2 / 5)


def test_a_class_of_which_none_is_in_a_part_of_the_run_has_no_value_there() -> None:
    part = of_two_classes().among(THREE.rows(slice(0, 1)))
    assert math.isnan(part.reached(parse_slo("batch: attainment > 1%"), []))


def test_an_unknown_class_is_an_error_with_the_nearest() -> None:
    with pytest.raises(InputError, match="class `chats` is unknown") as told:
        of_two_classes().of_class("chats")
    assert "`chat`" in str(told.value.hint)
    with pytest.raises(InputError, match="no request of the workload names one"):
        result().of_class("chat")


def arriving_each_second(waits_s: list[float]) -> Result:
    arrival_s = [float(second) for second in range(len(waits_s))]
    scheduled_s = [arrival + wait for arrival, wait in zip(arrival_s, waits_s, strict=True)]
    done = [scheduled + 1 for scheduled in scheduled_s]
    records = made_records(arrival_s, done, done, [1] * len(waits_s), scheduled_s)
    return result(records)


def test_a_queue_that_grows_until_the_end_is_an_overload() -> None:
    growing = arriving_each_second([0.5 * second for second in range(100)])
    assert growing.is_overloaded
    assert not replace(growing, is_open_loop=False).is_overloaded


def test_a_steady_queue_is_none() -> None:
    assert not arriving_each_second([20.0] * 100).is_overloaded
    assert not arriving_each_second([0.0] * 100).is_overloaded


def test_a_queue_that_has_shrunk_by_the_end_is_none() -> None:
    waits_s = [max(0.0, 30.0 - abs(second - 60)) for second in range(100)]
    assert not arriving_each_second(waits_s).is_overloaded
