"""Pools that serve some classes only: two models that share a budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.simulate import simulate
from servecast.traces.classes import Classes
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.search_cases import workload
from tests.toy_deployments import DENSE, WINDOWED

PLAIN = workload(90)
LABELS = ["chat", "chat", "long"] * 30
MIXED = replace(PLAIN, classes=Classes.of(LABELS))
CHAT = Pool("chats", DENSE, classes=("chat",))
LONG = Pool("longs", WINDOWED, classes=("long",))
REST = Pool("rest", WINDOWED)


def only(label: str) -> Workload:
    """The requests of one class, at their times."""
    rows = np.flatnonzero(np.array(LABELS) == label)
    return Workload(
        name=label,
        arrival_ns=PLAIN.arrival_ns[rows],
        prompt_tokens=PLAIN.prompt_tokens[rows],
        output_tokens=PLAIN.output_tokens[rows],
        max_tokens=PLAIN.max_tokens[rows],
    )


@pytest.mark.parametrize("pools", [(CHAT, LONG), (CHAT, REST)], ids=["both named", "the rest"])
def test_each_class_is_served_as_if_the_other_were_not_there(pools: tuple[Pool, ...]) -> None:
    result = simulate_fleet(Fleet(pools), MIXED)
    for label, deployment in (("chat", DENSE), ("long", WINDOWED)):
        rows = np.flatnonzero(np.array(LABELS) == label)
        alone = simulate(deployment, only(label)).records
        assert result.records.finish_ns[rows].tolist() == alone.finish_ns.tolist()
        assert result.records.first_token_ns[rows].tolist() == alone.first_token_ns.tolist()


def test_clients_of_a_closed_loop_may_wait_for_any_of_them() -> None:
    asked = closed_loop(MIXED, 4, 0)
    result = simulate_fleet(Fleet((CHAT, LONG)), asked)
    assert len(result.records) == 90
    assert len(result.of_pool(LONG)) == 30


def test_each_model_refuses_prompts_by_its_own_length() -> None:
    short = replace(LONG, deployment=replace(WINDOWED, max_model_len=300))
    result = simulate_fleet(Fleet((CHAT, short)), MIXED)
    long = np.array(LABELS) == "long"
    assert result.rejected.tolist() == np.flatnonzero(long & (MIXED.prompt_tokens >= 300)).tolist()


def test_a_class_that_nobody_serves_or_has_is_refused() -> None:
    with pytest.raises(InputError, match="no pool serves class `long`"):
        simulate_fleet(Fleet((CHAT,)), MIXED)
    with pytest.raises(InputError, match="class `lung` is unknown"):
        simulate_fleet(Fleet((CHAT, replace(LONG, classes=("lung",)))), MIXED)
    with pytest.raises(InputError, match="no request of the workload names one"):
        simulate_fleet(Fleet((CHAT, REST)), PLAIN)


def test_a_class_has_one_home() -> None:
    other = Pool("more", DENSE, classes=("chat", "long"))
    with pytest.raises(InputError, match="class `chat` is served by pools whose `classes` differ"):
        Fleet((CHAT, other))
