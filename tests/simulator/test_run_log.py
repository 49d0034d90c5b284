"""Inter-token times read from runs, against the runs written out step by step."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servecast.primitives.decode_run import DecodeRun
from servecast.simulator.run_log import RunLog

Row = tuple[int, int, int, int, int]
"""(sequences, spread, context, steps, chunk_tokens)"""


def step_ns(sequences: int, spread: int, context: int) -> int:
    return 1000 * sequences + 100 * spread + context


class Runs:
    """Decode runs of a cost that grows by 1 ns with each token of context."""

    def __init__(self) -> None:
        self._runs: dict[tuple[int, int], DecodeRun] = {}

    def __call__(self, sequences: int, spread: int) -> DecodeRun:
        def attention(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
            return contexts.astype(np.int64)

        fixed_ns = step_ns(sequences, spread, 0)
        return self._runs.setdefault((sequences, spread), DecodeRun(attention, fixed_ns))


def logged(rows: list[Row], stalls_ns: list[int]) -> RunLog:
    log, now_ns, runs = RunLog(), 0, Runs()
    for sequences, spread, context, steps, chunk_tokens in rows:
        duration_ns = 7777 if chunk_tokens else runs(sequences, spread).run_ns(context, steps)
        log.append(now_ns, duration_ns, steps, sequences, context, spread, chunk_tokens, 0)
        now_ns += duration_ns
    for stall_ns in stalls_ns:
        log.stall_ns.append(stall_ns)
    return log


def pooled(log: RunLog) -> Counter[int]:
    pool: Counter[int] = Counter()
    waits, counts = log.inter_token_ns(Runs())
    for wait, count in zip(waits.tolist(), counts.tolist(), strict=True):
        pool[wait] += count
    return +pool


def test_an_empty_log_has_no_inter_token_times() -> None:
    log = RunLog()
    assert len(log) == 0
    assert pooled(log) == Counter()


def test_each_step_is_waited_for_by_each_of_its_sequences() -> None:
    decode = logged([(2, 0, 10, 3, 0)], [])
    assert pooled(decode) == Counter({2010: 2, 2011: 2, 2012: 2})


def test_a_step_beside_a_prompt_is_waited_for_by_those_who_decode() -> None:
    assert pooled(logged([(3, 0, 0, 1, 64)], [])) == Counter({7777: 3})
    assert pooled(logged([(0, 0, 0, 1, 64)], [])) == Counter()


def test_a_preemption_is_one_long_wait() -> None:
    assert pooled(logged([(1, 0, 5, 1, 0)], [123456])) == Counter({1005: 1, 123456: 1})


DECODE = st.tuples(
    st.integers(1, 4), st.integers(0, 2), st.integers(0, 2500), st.integers(1, 40), st.just(0)
)
MIXED = st.tuples(st.integers(0, 4), st.just(0), st.just(0), st.just(1), st.integers(1, 99))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.one_of(DECODE, MIXED), max_size=25), st.lists(st.integers(1, 10**9), max_size=4))
def test_the_pool_is_that_of_the_steps_one_by_one(rows: list[Row], stalls_ns: list[int]) -> None:
    expected = Counter(stalls_ns)
    for sequences, spread, context, steps, chunk_tokens in rows:
        if chunk_tokens:
            expected[7777] += sequences
        else:
            for step in range(steps):
                expected[step_ns(sequences, spread, context + step)] += sequences
    assert pooled(logged(rows, stalls_ns)) == +expected


def test_a_pause_is_waited_for_in_place_of_the_step_that_ended_it() -> None:
    log = logged([(3, 0, 10, 2, 0)], [])
    log.note_pause(50_000, 3010, 2)
    assert pooled(log) == Counter({3010: 1, 3011: 3, 50_000: 2})
