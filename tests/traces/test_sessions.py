"""Who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.excerpts import between, mixed, thinned, without_ticks
from servecast.traces.mooncake_writer import write_mooncake
from servecast.traces.readers import read
from servecast.traces.reshape import closed_loop, head, rescale, sorted_by_arrival
from servecast.traces.sessions import Sessions
from servecast.traces.statistics import statistics
from servecast.traces.workload import Workload
from servecast.traces.writers import write

S = 1_000_000_000
FOLLOWS = [-1, 0, 0, -1, 2, 3]


def sessions(*follows: int, think_s: int = 1) -> Sessions:
    return Sessions(np.array(follows), np.full(len(follows), think_s * S))


def waiting() -> Workload:
    """Two sessions: 0, then 1 and 2 beside each other, then 4 after 2; and 3, then 5."""
    tokens = np.arange(1, 7)
    arrivals = np.zeros(6, np.int64)
    return Workload("w", arrivals, tokens, tokens, tokens, sessions=sessions(*FOLLOWS))


def test_a_session_is_numbered_by_its_first_request() -> None:
    found = sessions(*FOLLOWS)
    assert found.numbers().tolist() == [0, 0, 0, 1, 0, 1]
    assert found.is_first.tolist() == [True, False, False, True, False, False]
    assert found.followers() == [[1, 2], [], [4], [5], [], []]


def test_whoever_followed_a_request_that_is_left_out_begins_a_session() -> None:
    rest = sessions(*FOLLOWS).take(np.array([1, 2, 3, 4]))
    assert rest.follows.tolist() == [-1, -1, -1, 1]
    assert head(waiting(), 3).sessions is not None


def test_nobody_follows_a_later_request_or_thinks_less_than_nothing() -> None:
    with pytest.raises(InputError, match="request 1 follows request 1"):
        sessions(-1, 1)
    with pytest.raises(InputError, match="request 0 follows request -2"):
        sessions(-2)
    with pytest.raises(InputError, match="at least 0 ns"):
        sessions(-1, 0, think_s=-1)


def test_sessions_have_no_rate_and_their_statistics_count_turns_and_pauses() -> None:
    workload = waiting()
    assert (workload.is_open_loop, workload.rate_per_s) == (False, 0.0)
    found = statistics(workload)
    assert found.arrivals is None
    assert found.sessions is not None
    assert (found.sessions.sessions, found.sessions.requests_max) == (2, 4)
    assert (found.sessions.requests_mean, found.sessions.think_p50_s) == (3.0, 1.0)


RESHAPES: list[Callable[[Workload], Workload]] = [
    lambda workload: rescale(workload, 2.0),
    sorted_by_arrival,
    without_ticks,
    lambda workload: thinned(workload, 0.5),
    lambda workload: between(workload, 0, 1),
    lambda workload: mixed([workload, workload]),
]


@pytest.mark.parametrize("reshape", RESHAPES)
def test_what_needs_times_of_arrival_is_refused(reshape: Callable[[Workload], Workload]) -> None:
    with pytest.raises(InputError, match="`w` has sessions"):
        reshape(waiting())


def test_sessions_in_a_closed_loop_keep_who_follows_whom(tmp_path: Path) -> None:
    loop = closed_loop(waiting(), 2)
    assert loop.sessions is not None
    assert loop.sessions.follows.tolist() == FOLLOWS
    with pytest.raises(InputError, match="`w` has sessions"):
        write_mooncake(loop, tmp_path / "w.jsonl")


@pytest.mark.parametrize("name", ["w.csv", "w.jsonl.gz"])
def test_the_plain_format_says_who_follows_whom(tmp_path: Path, name: str) -> None:
    workload = replace(waiting(), arrival_ns=np.array([0, 0, 0, 5, 0, 0]) * S)
    write(workload, tmp_path / name)
    found = read(tmp_path / name)
    assert found.sessions is not None
    assert found.sessions.follows.tolist() == FOLLOWS
    assert found.sessions.think_ns.tolist() == [S] * 6
    assert found.arrival_ns[[0, 3]].tolist() == [0, 5 * S]


def test_sessions_may_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "arrival_s,input_tokens,output_tokens,follows,think_s\n"
        "0,100,10,,\n0,130,20,0,1.5\n4,100,10,-1,0\n"
    )
    found = read(path).sessions
    assert found is not None
    assert found.follows.tolist() == [-1, 0, -1]
    assert found.think_ns.tolist() == [0, 1_500_000_000, 0]
    path.write_text("arrival_s,input_tokens,output_tokens,follows\n0,100,10,-2\n")
    with pytest.raises(InputError, match="line 2: follows is `-2`"):
        read(path)
