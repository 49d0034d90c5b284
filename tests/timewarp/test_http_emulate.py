"""vLLM's own API server and benchmark client on virtual time, over real sockets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from servecast.errors import InputError, ServecastError, UnsupportedError
from servecast.primitives.memory import ledger
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.records import Records
from servecast.simulator.replica_plan import scheduler_limits
from servecast.timewarp.emulate import emulate
from servecast.timewarp.http_emulate import ServerEmulation, emulate_server
from servecast.timewarp.mode import Mode
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import (
    PLAIN,
    Case,
    break_vllm,
    burst,
    caching,
    conversations,
    limited,
    poisson,
    requests,
)

pytestmark = pytest.mark.engine(name="vllm")
COST = ConstantStepCost(10_000_000)
TRAFFIC = burst(4, [40], [5])
CASES = (
    Case("Poisson", PLAIN, poisson(20, 8.0)),
    Case("conversations in a small cache",
         caching(max_model_len=1024, num_gpu_blocks_override=150), conversations(5, 3)),
    Case("small cache, arrivals among preemptions",
         limited(max_model_len=1024, num_gpu_blocks_override=65, max_num_batched_tokens=256),
         requests([0.02 * i for i in range(12)], [120, 310, 64, 500], [300, 200, 90, 10])),
    Case("closed loop", limited(max_num_seqs=8),
         closed_loop(burst(16, [200, 40], [30, 60, 10]), 6, 0)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def options(case: Case) -> list[str]:
    limits = scheduler_limits(case.deployment, ledger(case.deployment), case.workload)
    return words(arguments(case.deployment, limits.num_blocks + 1))


def served(case: Case, given: list[str] | None = None) -> ServerEmulation:
    return emulate_server(case.deployment, case.workload, given or options(case), COST)


def in_order(records: Records, origin_ns: int) -> list[list[int]]:
    """Request by request: when it came, was first heard, and finished."""
    order = np.argsort(records.index)
    columns = records.arrival_ns, records.first_token_ns, records.finish_ns
    return [(column[order] - origin_ns).tolist() for column in columns]


def as_it_came(workload: Workload, records: Records) -> Workload:
    """The workload with the arrivals of an open loop as the server saw them."""
    if workload.concurrency is not None:
        return workload
    arrival_ns = records.arrival_ns[np.argsort(records.index)]
    return dataclasses.replace(workload, arrival_ns=arrival_ns - arrival_ns.min())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_server_is_the_engine_to_the_nanosecond(case: Case, asynchronous: bool) -> None:
    given = [word for word in options(case) if word != "--no-async-scheduling"]
    if not asynchronous:
        given.append("--no-async-scheduling")
    found = served(case, given).result.records
    workload = as_it_came(case.workload, found)
    alone = emulate(case.deployment, workload, given, COST, Mode(stepping=True)).result.records
    origin_ns = int(found.arrival_ns.min())
    assert in_order(found, origin_ns) == in_order(alone, int(alone.arrival_ns.min()))
    assert len(found) == len(case.workload)


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.name)
def test_clients_see_what_the_engine_did_when_they_sent_on_time(case: Case) -> None:
    emulation = served(case)
    records, report = emulation.result.records, emulation.report
    arrival_ns, first_ns, finish_ns = map(np.array, in_order(records, 0))
    np.testing.assert_allclose(report.ttft_s, (first_ns - arrival_ns) / 1e9, rtol=0, atol=1e-9)
    np.testing.assert_allclose(report.latency_s, (finish_ns - arrival_ns) / 1e9, rtol=0, atol=1e-9)
    assert report.output_tokens == case.workload.output_tokens.tolist()
    # vLLM's client takes the difference of two dates since 1970, in floating point
    np.testing.assert_allclose(
        arrival_ns - arrival_ns.min(),
        case.workload.arrival_ns - case.workload.arrival_ns.min(),
        rtol=0,
        atol=1000,
    )


def test_three_runs_are_identical_to_the_last_digit() -> None:
    reports = [served(CASES[0]).report for _ in range(3)]
    assert reports[0] == reports[1] == reports[2]
    assert len(reports[0].ttft_s) == 20


def test_an_exception_inside_the_engine_ends_the_run_and_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_vllm(monkeypatch)
    with pytest.raises(ServecastError, match=r"vllm raised AssertionError: no such block, 0\.03"):
        served(Case("small", PLAIN, TRAFFIC))


def test_a_server_can_be_started_again_after_one_that_failed() -> None:
    assert len(served(Case("small", PLAIN, TRAFFIC)).result.records) == 4


def test_options_that_vllm_refuses_are_an_input_error_with_its_own_words() -> None:
    given = [*options(Case("small", PLAIN, TRAFFIC)), "--no-such-option"]
    with pytest.raises(InputError, match="--no-such-option"):
        served(Case("small", PLAIN, TRAFFIC), given)


def test_what_the_server_or_its_client_cannot_do_is_refused_by_name() -> None:
    for changed, said in (
        (dataclasses.replace(PLAIN, engine="sglang"), "the server of engine `sglang`"),
        (dataclasses.replace(PLAIN, pipeline_parallel_size=2), "over 2 pipeline stages"),
        (dataclasses.replace(PLAIN, replicas=2), "2 replicas behind a router"),
    ):
        with pytest.raises(UnsupportedError, match=said):
            emulate_server(changed, TRAFFIC, [], COST)
    thinking = closed_loop(TRAFFIC, 2, 1_000)
    with pytest.raises(UnsupportedError, match="does not think"):
        emulate_server(PLAIN, thinking, [], COST)
