"""What a virtual device charges, and when it is free again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.primitives.batch import Batch, Group, StepTime
from servecast.primitives.decode_run import DecodeRun
from servecast.simulator.request import Request
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.served import Served


class NotedCost:
    """Every step takes what it is told to; the batches asked for are kept."""

    needs_spread = True

    def __init__(self, device_ns: float = 100, host_ns: float = 10) -> None:
        self._step = StepTime(device_ns, host_ns)  # type: ignore[arg-type]
        self.batches: list[Batch] = []
        self.spreads: list[list[int]] = []

    def step(self, batch: Batch) -> StepTime:
        self.batches.append(batch)
        return self._step

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        return DecodeRun(_nothing, 0)

    def spread(self, contexts: Sequence[int]) -> int:
        self.spreads.append(list(contexts))
        return len(self.spreads)


def _nothing(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.zeros(len(contexts), dtype=np.int64)


def served(prompt: int) -> Served:
    return Served(Request(0, 0, prompt, 50, max_tokens=50), 16)


def test_a_batch_is_one_decode_group_and_then_the_chunks() -> None:
    cost = NotedCost()
    device = VirtualDevice(VirtualClock(), cost)
    one, two, three = served(8), served(20), served(100)
    device.run([(one, 8), (two, 20)])
    device.run([(one, 1), (two, 1), (three, 40)])
    device.run([(one, 1), (two, 1), (three, 60)])
    assert [batch.groups for batch in cost.batches] == [
        (Group(8, 1, 0), Group(20, 1, 0)),
        (Group(1, 2, 28, 1, True), Group(40, 1, 0)),
        (Group(1, 2, 30, 1, True), Group(60, 1, 40)),
    ]


def test_contexts_are_compared_when_the_decode_group_changes() -> None:
    cost = NotedCost()
    device = VirtualDevice(VirtualClock(), cost)
    one, two = served(8), served(20)
    device.run([(one, 8)])
    for _ in range(3):
        device.run([(one, 1)])
    device.run([(one, 1), (two, 20)])
    device.run([(one, 1), (two, 1)])
    device.run([(one, 1), (two, 1)], preempted=[5])  # a prompt, not one of these
    assert cost.spreads == [[8], [12, 20]]


def test_one_who_decoded_alone_and_begins_again_is_another_group() -> None:
    cost = NotedCost()
    device, one = VirtualDevice(VirtualClock(), cost), served(8)
    device.run([(one, 8)])
    device.run([(one, 1)])
    one.place(0)
    device.run([(one, 10)], preempted=[0])
    device.run([(one, 1)])
    assert cost.spreads == [[8], [10]]


def test_steps_queue_for_the_device_in_their_order() -> None:
    device = VirtualDevice(VirtualClock(), NotedCost())
    one, two = served(8), served(20)
    first, second = device.run([(one, 8)]), device.run([(two, 20)])
    assert (first.start_ns, first.end_ns) == (0, 110)
    assert (second.start_ns, second.end_ns) == (110, 220)
    device.clock.jump_to(1_000)
    third = device.run([(one, 1)])
    assert (third.start_ns, third.end_ns) == (1_000, 1_110)


def test_a_stage_takes_a_batch_when_it_is_free_and_the_stage_before_is_done() -> None:
    later = NotedCost(device_ns=300, host_ns=0), NotedCost(device_ns=50, host_ns=0)
    device = VirtualDevice(VirtualClock(), NotedCost(), later)
    first, second = device.run([(served(8), 8)]), device.run([(served(20), 20)])
    assert (first.start_ns, first.end_ns) == (0, 110 + 300 + 50)
    assert (second.start_ns, second.end_ns) == (110, 410 + 300 + 50)
    assert later[0].batches == [first.batch, second.batch]


@pytest.mark.parametrize("cost", [NotedCost(device_ns=math.nan), NotedCost(host_ns=-5)])
def test_an_impossible_cost_stops_the_run(cost: NotedCost) -> None:
    with pytest.raises(InputError, match="whole number of nanoseconds"):
        VirtualDevice(VirtualClock(), cost).run([(served(8), 8)])
