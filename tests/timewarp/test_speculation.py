"""Which drafts are accepted, what they cost, and what a device makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.batch import Batch, Group
from servecast.simulator.request import Request
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.oracle import END
from servecast.timewarp.served import Served
from servecast.timewarp.speculation import Method, Speculation
from tests.constant_cost import ConstantStepCost
from tests.timewarp.test_device import NotedCost

CHANCES = (0.8, 0.55, 0.3, 0.1)
NGRAM = Speculation("ngram", 4, CHANCES)


def test_each_position_is_accepted_as_often_as_asked() -> None:
    drawn = np.array([NGRAM.accepted(request, at) for request in range(40) for at in range(500)])
    found = [(drawn >= i).mean() for i in range(1, 5)]
    assert np.abs(np.array(found) - CHANCES).max() < 3 * 0.5 / np.sqrt(len(drawn))


@given(request=st.integers(0, 10**6), position=st.integers(0, 10**6))
def test_a_draw_is_a_matter_of_request_position_and_seed(request: int, position: int) -> None:
    again = Speculation("ngram", 4, CHANCES)
    assert NGRAM.accepted(request, position) == again.accepted(request, position)
    assert Speculation("ngram", 2, (1.0, 1.0)).accepted(request, position) == 2
    assert Speculation("ngram", 2, (0.0, 0.0)).accepted(request, position) == 0


def test_seeds_requests_and_positions_draw_apart() -> None:
    other = Speculation("ngram", 4, CHANCES, seed=1)
    rows = [[each.accepted(0, at) for at in range(200)] for each in (NGRAM, other)]
    rows.append([NGRAM.accepted(1, at) for at in range(200)])
    assert rows[0] != rows[1] != rows[2] != rows[0]


@pytest.mark.parametrize(
    ("method", "tokens", "acceptance", "has_draft", "told"),
    [
        ("ngram", 3, (0.5, 0.4), False, "acceptance has 2 positions"),
        ("ngram", 2, (0.5, 0.6), False, "falling"),
        ("ngram", 1, (1.5,), False, "between 1 and 0"),
        ("ngram", 1, (float("nan"),), False, "between 1 and 0"),
        ("ngram", 1, (0.5,), True, "ngram has no draft model"),
        ("draft_model", 1, (0.5,), False, "draft_model needs draft model"),
    ],
)
def test_what_makes_no_speculation_is_refused(
    method: Method, tokens: int, acceptance: tuple[float, ...], has_draft: bool, told: str
) -> None:
    draft = ConstantStepCost(1) if has_draft else None
    with pytest.raises(InputError, match=told):
        Speculation(method, tokens, acceptance, draft)


def test_a_draft_model_computes_the_batch_and_then_one_token_each() -> None:
    draft = NotedCost(device_ns=7, host_ns=1000)
    cost = Speculation("draft_model", 3, (0.5, 0.4, 0.3), draft).priced(NotedCost())
    batch = Batch((Group(4, 2, 100, 0, True), Group(30, 1, 5)))
    assert cost.step(batch) == (100 + 3 * 7, 10)
    assert draft.batches == [batch, Batch((Group(1, 3, 143, 0, True),))]


def test_an_ngram_lookup_takes_no_time_on_the_device() -> None:
    cost = NotedCost()
    assert NGRAM.priced(cost) is cost


def test_who_verifies_equally_many_drafts_is_one_group() -> None:
    cost = NotedCost()
    device = VirtualDevice(VirtualClock(), cost, speculation=Speculation("ngram", 2, (0.0, 0.0)))
    one, two, three = (Served(Request(i, 0, 10 * i + 8, 50, 50)) for i in range(3))
    device.run([(one, 8), (two, 18)])
    step = device.run([(one, 3), (two, 1), (three, 20)])
    assert cost.batches[1].groups == (
        Group(1, 1, 18, 1, True), Group(3, 1, 8, 2, True), Group(20, 1, 0)
    )  # fmt: skip
    assert [len(said) for said in step.tokens] == [1, 1, 0]
    assert (one.computed, two.computed, three.computed) == (9, 19, 20)


def test_accepted_drafts_come_out_and_nothing_beyond_the_end() -> None:
    accepting = Speculation("ngram", 3, (1.0, 1.0, 1.0))
    device = VirtualDevice(VirtualClock(), ConstantStepCost(5), speculation=accepting)
    request = Served(Request(0, 0, 4, 7, 50))
    said = [device.run([(request, count)]).tokens[0] for count in (4, 4, 4)]
    assert [len(each) for each in said] == [1, 4, 2]
    assert said[2][-1] == END
    assert END not in said[0] + said[1]
    assert [*said[0], *said[1], *said[2]][:-1] == request.text.tokens(4, 6)


def test_padding_of_one_that_begins_again_is_rejected() -> None:
    accepting = Speculation("ngram", 2, (1.0, 1.0))
    device = VirtualDevice(VirtualClock(), ConstantStepCost(5), speculation=accepting)
    request = Served(Request(0, 0, 17, 9, 50))
    request.place(computed=16)
    assert [len(said) for said in device.run([(request, 3)]).tokens] == [1]
    assert request.computed == 17
