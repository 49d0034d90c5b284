"""What goes wrong around vLLM ends in one clear error, soon."""

from __future__ import annotations

import math

import pytest

from servecast.errors import InputError, ServecastError
from servecast.primitives.memory import ledger
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.replica_plan import scheduler_limits
from servecast.timewarp.emulate import emulate
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import PLAIN, break_vllm, burst
from tests.timewarp.test_device import NotedCost

pytestmark = pytest.mark.engine(name="vllm")
TRAFFIC = burst(4, [40], [5])
LIMITS = scheduler_limits(PLAIN, ledger(PLAIN), TRAFFIC)
OPTIONS = words(arguments(PLAIN, LIMITS.num_blocks + 1))


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


@pytest.mark.parametrize("ns", [-1, math.nan])
def test_a_cost_that_is_no_duration_stops_the_run(ns: float) -> None:
    with pytest.raises(InputError, match="the device time of a step is"):
        emulate(PLAIN, TRAFFIC, OPTIONS, NotedCost(device_ns=ns))


def test_an_exception_inside_the_engine_names_engine_moment_and_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_vllm(monkeypatch)
    with pytest.raises(ServecastError, match=r"vllm raised AssertionError: no such block, 0\.00"):
        emulate(PLAIN, TRAFFIC, OPTIONS, ConstantStepCost(1_000_000))


def test_an_engine_can_be_started_again_after_one_that_failed() -> None:
    emulation = emulate(PLAIN, TRAFFIC, OPTIONS, ConstantStepCost(1_000_000))
    assert len(emulation.result.records) == 4


def test_options_that_vllm_refuses_are_an_input_error_with_its_own_words() -> None:
    without = [word for word in OPTIONS if word != "--no-async-scheduling"]
    refused = [*without, "--max-num-batched-tokens", "16"]
    with pytest.raises(InputError, match=r"(?s)vLLM does not start .*max_num_batched_tokens"):
        emulate(PLAIN, TRAFFIC, refused, ConstantStepCost(1))


def test_an_unknown_option_is_an_input_error_not_an_exit() -> None:
    with pytest.raises(InputError, match="--no-such-option"):
        emulate(PLAIN, TRAFFIC, [*OPTIONS, "--no-such-option"], ConstantStepCost(1))
