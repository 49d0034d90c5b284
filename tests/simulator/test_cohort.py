"""A cohort in a stepped engine, where the outcome can be told by hand."""

from __future__ import annotations

import pytest

from servecast.primitives.speculation import Speculation
from servecast.simulator.cohort_member import CohortMember, path_of
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.stepped_request import SteppedRequest
from tests.constant_cost import ConstantStepCost

MS = 1_000_000
ALWAYS = Speculation("ngram", 3, (1.0, 1.0, 1.0))
ROOMY = SchedulerLimits(8, 64, 256, 400)


def decoding(prompt: int, output: int, max_tokens: int) -> SteppedRequest:
    request = SteppedRequest(Request(0, 0, prompt, output, max_tokens))
    request.place(0)
    request.take(prompt, 0)
    return request


def test_a_path_goes_on_by_the_drafts_that_are_accepted_and_one_more() -> None:
    assert path_of(decoding(10, 9, 9), ALWAYS, 3) == [11, 15, 19]
    assert path_of(decoding(10, 9, 9), ALWAYS, 1) == [11, 13, 15, 17, 19]
    assert list(path_of(decoding(10, 3, 3), None, 0)) == [11, 12, 13]


def test_a_member_is_computed_once_more_where_nobody_can_foresee_its_end() -> None:
    path = [11, 15, 19]
    open_ended = CohortMember(decoding(10, 9, 50), 0, 1, path, ahead=True)
    assert (open_ended.steps, open_ended.rides) == (2, 3)
    assert CohortMember(decoding(10, 9, 50), 0, 1, path, ahead=False).rides == 2
    foreseen = CohortMember(decoding(10, 9, 9), 0, 1, [11, 18, 19], ahead=True)
    assert foreseen.rides == 2  # one token was allowed before its last step


def test_what_a_member_adds_to_its_steps() -> None:
    member = CohortMember(decoding(10, 9, 9), 0, 1, [11, 15, 19], ahead=False)
    assert member.adds(3, 16).tolist() == [[1, 1], [10, 14], [0, 1], [1, 0], [4, 0]]
    assert (member.taken(1, 16), member.taken(2, 16)) == (0, 1)
    assert (member.says(0), member.says(1)) == (4, 4)


@pytest.mark.parametrize("drafts", [ALWAYS, None], ids=["drafts", "no drafts"])
def test_who_decodes_together_is_looked_at_again_when_somebody_ends(
    drafts: Speculation | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVECAST_CHECK", "1")
    engine = SteppedEngine(
        ROOMY, [ConstantStepCost(MS)], options=SteppedOptions(speculation=drafts)
    )
    for index, output in enumerate((41, 81)):
        engine.submit(Request(index, 0, 10, output, output), 0)
    engine.advance(5 * MS)
    cohort, width = engine.scheduler.cohort, 4 if drafts else 1
    assert [each.request.index for each in cohort.members] == [0, 1]
    assert engine.scheduler.apart == []
    engine.advance((1 + 40 // width) * MS)
    assert [request.index for request in engine.finished] == [0]
    assert [each.request.index for each in cohort.members] == [1]
    engine.advance(None)
    assert engine.now_ns == (1 + 80 // width) * MS
    assert len(engine.log) == 1 + 80 // width
    assert not cohort.members
    assert engine.blocks.used == 0


def test_a_cohort_parts_before_somebody_has_to_give_way() -> None:
    engine = SteppedEngine(SchedulerLimits(2, 64, 128, 12), [ConstantStepCost(MS)])
    for index in range(2):
        engine.submit(Request(index, 0, 40, 70, 70), 0)
    engine.advance(20 * MS)
    assert len(engine.scheduler.cohort.members) == 2
    engine.advance(60 * MS)  # 97 tokens each are seven blocks, and there are six for each
    assert not engine.scheduler.cohort.members
    engine.advance(None)
    assert [request.num_preemptions for request in engine.finished] == [0, 1]
