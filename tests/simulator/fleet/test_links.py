"""Adapters that carry one transfer at a time."""

from __future__ import annotations

from servecast.simulator.fleet.links import Links


def test_a_transfer_waits_for_its_sender_and_for_its_receiver() -> None:
    links = Links()
    assert links.book(0, 10, 100, 50) == 150
    assert links.book(1, 11, 100, 50) == 150  # others' adapters
    assert links.book(0, 12, 100, 50) == 200  # the sender is busy until 150
    assert links.book(1, 12, 100, 50) == 250  # the receiver is busy until 200
    assert links.book(0, 10, 900, 50) == 950


def test_one_that_was_hidden_so_far_is_over_when_its_rest_is() -> None:
    """Layers on the wire since 80, of which 20 ns are left at 110."""
    assert Links().book(0, 1, 80, 50) == 130
