"""What a virtual device makes of drafts."""

from __future__ import annotations

from servecast.primitives.batch import Group
from servecast.primitives.speculation import Speculation
from servecast.simulator.request import Request
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.oracle import END
from servecast.timewarp.served import Served
from tests.constant_cost import ConstantStepCost
from tests.timewarp.test_device import NotedCost


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
