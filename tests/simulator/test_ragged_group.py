"""Requests that decode with drafts: each advances by its own, and has slots ahead of it."""

from __future__ import annotations

import pytest

from servecast.simulator.ragged_group import RaggedGroup
from servecast.simulator.request import Request


def joined(group: RaggedGroup, index: int, prompt_tokens: int) -> Request:
    """A request whose prompt is computed, in blocks of 4."""
    each = Request(index, 0, prompt_tokens, 50, 50)
    each.num_computed_tokens = prompt_tokens
    each.num_blocks = -(-prompt_tokens // 4)
    group.join(each)
    return each


def test_each_has_whole_blocks_for_what_it_may_say_in_two_steps() -> None:
    group = RaggedGroup(4, reserve=8)
    one, other = joined(group, 0, 5), joined(group, 1, 8)
    assert (group.size, group.blocks_needed(1)) == (2, 2 + 2)
    assert group.slots_needed() == (16 - 5) + (16 - 8)
    group.reserve()
    assert (one.num_blocks, other.num_blocks) == (4, 4)
    assert (group.blocks_needed(1), group.slots_needed()) == (0, 0)


def test_what_is_rejected_is_kept_and_used_again() -> None:
    group = RaggedGroup(4, reserve=8)
    each = joined(group, 0, 8)
    group.reserve()
    each.num_computed_tokens += 1
    assert (group.blocks_needed(1), group.slots_needed()) == (1, 4)
    group.reserve()
    each.num_computed_tokens += 3
    assert group.blocks_needed(1) == 0


def test_who_leaves_needs_nothing() -> None:
    group = RaggedGroup(4, reserve=8)
    one, other = joined(group, 0, 5), joined(group, 1, 8)
    group.leave(one)
    assert list(group) == [other]
    assert one not in group
    assert group.blocks_needed(1) == 2
    group.check([other])
    with pytest.raises(AssertionError, match="a decode group of 1"):
        group.check([one, other])


def test_what_several_steps_take_is_not_known() -> None:
    with pytest.raises(ValueError, match="2 steps"):
        RaggedGroup(4, reserve=8).blocks_needed(2)
