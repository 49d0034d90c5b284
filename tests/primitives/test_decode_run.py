"""Decode runs: prefix sums that give what adding up the steps would."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servecast.primitives.decode_run import MARGIN, DecodeRun

FIXED_NS = 1000


def attention(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Uneven, so that an index off by one shows."""
    uneven = np.rint(contexts * 3.7 + 10 * np.sin(contexts) + 10)
    return np.asarray(uneven, dtype=np.int64)


def step_ns(context: int) -> int:
    return int(attention(np.array([float(context)]))[0]) + FIXED_NS


@settings(max_examples=200, derandomize=True)
@given(context=st.integers(0, 5000), steps=st.integers(0, 300))
def test_a_run_is_the_sum_of_its_steps(context: int, steps: int) -> None:
    run = DecodeRun(attention, FIXED_NS)
    assert run.run_ns(context, steps) == sum(step_ns(context + step) for step in range(steps))


@settings(max_examples=200, derandomize=True)
@given(context=st.integers(0, 5000), first=st.integers(0, 300), second=st.integers(0, 300))
def test_a_run_cut_in_two_takes_as_long(context: int, first: int, second: int) -> None:
    run = DecodeRun(attention, FIXED_NS)
    parts = run.run_ns(context, first) + run.run_ns(context + first, second)
    assert run.run_ns(context, first + second) == parts


@settings(max_examples=300, derandomize=True)
@given(st.integers(0, 3000), st.integers(0, 200_000), st.integers(1, 100))
def test_the_step_that_a_moment_falls_in_is_found(context: int, ns: int, at_most: int) -> None:
    run = DecodeRun(attention, FIXED_NS)
    enough = [step for step in range(1, at_most + 1) if run.run_ns(context, step) >= ns]
    assert run.steps_until(context, ns, at_most) == (enough[0] if enough else at_most)


def test_a_moment_at_a_boundary_belongs_to_the_step_that_ends_there() -> None:
    run = DecodeRun(attention, FIXED_NS)
    boundary_ns = run.run_ns(100, 5)
    assert run.steps_until(100, boundary_ns, 50) == 5
    assert run.steps_until(100, boundary_ns + 1, 50) == 6
    assert run.steps_until(100, 0, 50) == 1


def test_each_context_is_priced_once_and_only_when_asked_for() -> None:
    priced: list[int] = []

    def counting(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
        priced.extend(contexts.astype(np.int64).tolist())
        return attention(contexts)

    run = DecodeRun(counting, FIXED_NS)
    assert priced == []
    for context in (10, 900, 5000, 20, 4000):
        run.run_ns(context, 50)
    assert sorted(priced) == list(range(len(priced)))
    assert 5050 <= len(priced) <= 3 * 5050


def test_contexts_far_from_those_asked_for_are_not_priced() -> None:
    asked: list[NDArray[np.float64]] = []

    def noting(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
        asked.append(contexts)
        return attention(contexts)

    DecodeRun(noting, FIXED_NS).run_ns(100_000, 50)
    assert sum(map(len, asked)) <= 2 * MARGIN + 50


def test_what_was_asked_for_first_does_not_matter() -> None:
    ahead, behind = DecodeRun(attention, FIXED_NS), DecodeRun(attention, FIXED_NS)
    ahead.run_ns(9000, 1)
    behind.run_ns(3, 1)
    assert ahead.run_ns(3, 2500) == behind.run_ns(3, 2500)
    assert ahead.step_attention_ns(2000) == behind.step_attention_ns(2000)
    assert ahead.attention_ns(5, 9).tolist() == attention(np.arange(5.0, 9.0)).tolist()
    assert ahead.steps_ns(5, 9).tolist() == [step_ns(context) for context in range(5, 9)]


def test_overlapped_host_work_is_a_floor_and_exposed_work_comes_on_top() -> None:
    def attention(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
        return contexts.astype(np.int64)

    run = DecodeRun(attention, 10, hidden_ns=15, exposed_ns=2)
    assert [run.run_ns(context, 1) for context in (0, 5, 6, 20)] == [17, 17, 18, 32]
    assert run.run_ns(0, 7) == 6 * 17 + 18
