"""The texts of fake requests, and when a device hands out their tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servecast.simulator.request import Request
from servecast.timewarp.oracle import END, Text, stream_tokens
from servecast.timewarp.served import Served

SIZE = 16
STREAMS = st.integers(0, 10**9 - 1)
EXTENTS = st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 5)), max_size=4)


@given(
    extents=EXTENTS,
    start=st.integers(0, 400),
    first=st.integers(0, 50),
    more=st.integers(0, 50),
)
def test_a_text_is_the_same_however_it_is_cut(
    extents: list[tuple[int, int]], start: int, first: int, more: int
) -> None:
    text = Text(3, extents, SIZE)
    whole = text.tokens(start, first + more)
    assert len(whole) == first + more
    assert whole == text.tokens(start, first) + text.tokens(start + first, more)
    assert END not in whole


@given(one=STREAMS, other=STREAMS, at=st.integers(0, 10**6))
def test_streams_share_no_pair_of_tokens_at_one_place(one: int, other: int, at: int) -> None:
    same = stream_tokens(one, at, 2) == stream_tokens(other, at, 2)
    assert same == (one == other)


@given(one=EXTENTS, other=EXTENTS, data=st.data())
def test_texts_are_equal_as_far_as_their_block_ids_are(
    one: list[tuple[int, int]], other: list[tuple[int, int]], data: st.DataObject
) -> None:
    common = data.draw(EXTENTS)
    mine, theirs = [*common, *one], [*common, *other]
    same = 0
    for left, right in zip(blocks(mine), blocks(theirs), strict=False):
        if left != right:
            break
        same += 1
    a, b = Text(1, mine, SIZE), Text(2, theirs, SIZE)
    assert a.tokens(0, same * SIZE) == b.tokens(0, same * SIZE)
    assert a.tokens(same * SIZE, SIZE) != b.tokens(same * SIZE, SIZE)


def blocks(extents: list[tuple[int, int]]) -> list[int]:
    return [first + i for first, length in extents for i in range(length)]


def served(prompt: int, output: int) -> Served:
    return Served(Request(3, 0, prompt, output, max_tokens=100), SIZE)


def text(start: int, count: int) -> list[int]:
    return served(1, 1).text.tokens(start, count)


def test_nothing_comes_out_before_the_whole_prompt_is_computed() -> None:
    request = served(prompt=4, output=2)
    assert request.take(3) == []
    assert not request.is_decoding
    assert request.take(1) == text(4, 1)
    assert request.is_decoding


def test_the_last_token_is_the_end_and_so_is_all_that_is_computed_beyond() -> None:
    request = served(prompt=4, output=2)
    assert [request.take(4), request.take(1), request.take(1)] == [text(4, 1), [END], [END]]


def test_one_who_decodes_says_as_many_tokens_as_are_computed() -> None:
    request = served(prompt=2, output=20)
    assert request.take(2) == text(2, 1)
    assert request.take(7) == text(3, 7)
    assert request.request.emitted == 8


def test_after_a_preemption_what_was_said_is_computed_again_and_not_said_again() -> None:
    request = served(prompt=2, output=5)
    assert request.take(2) + request.take(1) == text(2, 2)
    request.place(computed=0)
    assert not request.is_decoding
    assert request.take(3) == []
    assert request.take(1) == text(4, 1)


def test_what_a_cache_holds_is_not_computed() -> None:
    request = served(prompt=20, output=5)
    request.place(computed=16)
    assert request.take(4) == text(20, 1)


@given(prompt=st.integers(1, 60), output=st.integers(1, 20), chunk=st.integers(1, 60))
def test_prompt_and_output_are_one_text(prompt: int, output: int, chunk: int) -> None:
    request = served(prompt, output)
    said = list(request.prompt)
    while not said or said[-1] != END:
        known = request.request.num_tokens
        said += request.take(min(chunk, known - request.computed))
    assert said == [*text(0, prompt + output - 1), END]
