"""Who goes next among actors that share a clock, decided without any process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servecast.timewarp.clock_server_turns import Turn, Turns, Wait

AB = ("a:1", "b:1")


def started(*actors: str) -> Turns:
    """Actors who have had their first turn and wait for messages."""
    turns = Turns(actors)
    for actor in actors:
        assert turns.next() == Turn(actor, 0, [], True)
        turns.wait(actor, Wait(None, owns=[f"{actor}:1"]))
    return turns


def test_actors_start_at_0_in_the_order_of_their_names() -> None:
    assert started("b", "a").now_ns == 0


def test_time_jumps_to_the_smallest() -> None:
    turns = started("a", "b")
    turns.wait("a", Wait(50))
    turns.wait("b", Wait(20))
    assert turns.next() == Turn("b", 20, [], True)
    assert turns.running == "b"
    assert turns.now_ns == 20


def test_a_message_comes_before_any_jump_and_is_told_once() -> None:
    turns = started("a", "b")
    turns.wait("b", Wait(20))
    turns.wait("a", Wait(10, sent=[(AB, 3), (AB, 2)]))
    assert turns.next() == Turn("b", 0, [(AB, 5)], False)
    turns.wait("b", Wait(20))
    assert turns.next() == Turn("a", 10, [], True)


def test_those_at_rest_are_the_last_of_their_instant() -> None:
    turns = started("a", "b")
    turns.wait("a", Wait(10, at_rest=True))
    turns.wait("b", Wait(10))
    assert turns.next() == Turn("b", 10, [], True)
    turns.wait("b", Wait(None, sent=[(("b:1", "a:1"), 1)]))
    assert turns.next() == Turn("a", 10, [(("b:1", "a:1"), 1)], False)
    turns.wait("a", Wait(10, at_rest=True))
    assert turns.next() == Turn("a", 10, [], True)


def test_nobody_waits_for_what_goes_to_no_actor_or_to_the_sender() -> None:
    turns = started("a", "b")
    turns.wait("a", Wait(5, sent=[(("a:1", "elsewhere:80"), 9), (("a:2", "a:1"), 9)]))
    assert turns.next() == Turn("a", 5, [], True)


def test_a_connection_that_is_opened_is_a_message_to_whoever_listens() -> None:
    turns = started("a", "b")
    turns.wait("a", Wait(None, sent=[(("", "b:1"), 1)]))
    assert turns.next() == Turn("b", 0, [(("", "b:1"), 1)], False)


def test_all_waiting_for_messages_is_nobodys_turn() -> None:
    assert started("a", "b").next() is None


def test_whoever_leaves_is_waited_for_no_more() -> None:
    turns = started("a", "b")
    turns.wait("a", Wait(5))
    turns.wait("b", Wait(1))
    turns.leave("b")
    turns.wait("a", Wait(5, sent=[(AB, 1)]))
    assert turns.next() == Turn("a", 5, [], True)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.booleans()), max_size=60))
def test_time_never_goes_back_and_no_message_is_overtaken(
    plan: list[tuple[int, int, bool]],
) -> None:
    names = ("a", "b", "c")
    turns, told_ns = started(*names), 0
    untold = {name: 0 for name in names}
    for name in names:
        turns.wait(name, Wait(0))
    for to, pause_ns, sends in plan:
        turn = turns.next()
        assert turn is not None
        assert turn.now_ns >= told_ns
        if turn.now_ns > told_ns:
            assert not any(untold.values())
        told_ns, untold[turn.actor] = turn.now_ns, 0
        receiver = names[to]
        channel = (f"{turn.actor}:1", f"{receiver}:1")
        untold[receiver] += sends and receiver != turn.actor
        turns.wait(turn.actor, Wait(told_ns + pause_ns, sent=[(channel, 1)] if sends else []))
