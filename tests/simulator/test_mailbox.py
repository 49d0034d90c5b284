"""When SGLang reads the requests that have come."""

from __future__ import annotations

from servecast.simulator.mailbox import Mailbox
from servecast.simulator.request import Request


def put(count: int, box: Mailbox) -> list[int]:
    box.extend(Request(index, 0, 1, 1, 1) for index in range(count))
    return [each.index for each in box]


def test_without_an_interval_everything_is_read_in_every_pass() -> None:
    box = Mailbox()
    for _ in range(3):
        sent = put(2, box)
        assert [each.index for each in box.read(at_once=False)] == sent
        box.decoded(1)
        assert not box


def test_with_one_it_is_read_at_every_so_many_decode_steps() -> None:
    box = Mailbox(5)
    box.decoded(2)
    put(1, box)
    assert not box.read(at_once=False)
    assert box.steps_left == 3
    box.decoded(3)
    assert len(box.read(at_once=False)) == 1


def test_after_prompts_it_is_read_at_once_and_the_count_begins_anew() -> None:
    box = Mailbox(5)
    box.decoded(4)
    put(3, box)
    assert len(box.read(at_once=True)) == 3
    assert box.steps_left == 5
