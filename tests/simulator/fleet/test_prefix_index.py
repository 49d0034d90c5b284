"""What a router remembers of prompts, beside lists of single blocks that remember the same."""

from __future__ import annotations

from collections import Counter, OrderedDict

from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.simulator.fleet.active_blocks import ActiveBlocks
from servecast.simulator.fleet.prefix_index import PrefixIndex

Extents = list[tuple[int, int]]


@st.composite
def prompts(draw: st.DrawFn) -> list[Extents]:
    """Prompts that share beginnings of three texts, and go on as they like."""
    made: list[Extents] = []
    for _ in range(draw(st.integers(1, 30))):
        text, length = draw(st.integers(0, 2)), draw(st.integers(1, 20))
        prompt = [(100 * text, length)]
        if draw(st.booleans()):
            prompt.append((1000 + 50 * draw(st.integers(0, 4)), draw(st.integers(1, 30))))
        made.append(prompt)
    return made


def listed(prompt: Extents) -> list[int]:
    return [block for first, length in prompt for block in range(first, first + length)]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(prompts(), st.integers(1, 90))
def test_it_is_a_list_of_the_latest_blocks(asked: list[Extents], capacity: int) -> None:
    index, plain = PrefixIndex(capacity), OrderedDict[int, None]()
    for prompt in asked:
        known = 0
        for block in listed(prompt):
            if block not in plain:
                break
            known += 1
        assert index.matched(prompt) == known
        index.add(prompt)
        for block in listed(prompt):
            plain[block] = None
            plain.move_to_end(block)
        while len(plain) > capacity:
            plain.popitem(last=False)
        assert index.blocks == len(plain)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(prompts(), st.lists(st.integers(0, 99)))
def test_a_block_that_several_hold_counts_once(asked: list[Extents], ends: list[int]) -> None:
    active, plain, held = ActiveBlocks(), Counter[int](), list[tuple[Extents, int]]()
    for own, prompt in enumerate(asked):
        assert active.new(prompt) == len([each for each in listed(prompt) if not plain[each]])
        active.hold(prompt, own)
        plain.update(listed(prompt))
        held.append((prompt, own))
        if own < len(ends) and ends[own] % 2:
            ended = held.pop(ends[own] % len(held))
            active.release(*ended)
            plain.subtract(listed(ended[0]))
        shared = sum(count > 0 for count in plain.values())
        assert active.blocks == shared + sum(own for _, own in held)
    for each in held:
        active.release(*each)
    assert active.blocks == 0


def test_a_prompt_of_a_hundred_thousand_tokens_is_a_handful_of_entries() -> None:
    index = PrefixIndex(10_000)
    for turn in range(1000):
        index.add([(0, 6000), (10_000 + 10 * turn, 10)])
    assert index.matched([(0, 6000), (10_000 + 10 * 999, 10)]) == 6010
    assert index.matched([(0, 6000), (10_000, 10)]) == 6000  # the first turns are forgotten
    assert len(index) < 3000
