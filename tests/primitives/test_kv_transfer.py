"""Laws of a transfer: monotone, never below the wire, and layer by layer it hides what it can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.kv_payload import KvPayload
from servecast.primitives.kv_transfer import layerwise_s, shorter_s, whole_s, wire_s
from servecast.primitives.network import Adapters, Connector, Network

NODE = Adapters(1e10, number=8, node_ranks=8)
FREE = Connector(share=1.0, setup_s=0.0, layer_s=0.0)


@st.composite
def payloads(draw: st.DrawFn) -> KvPayload:
    """As many bytes at both ends, of a replica on `ranks` ranks and one of as many a stage."""
    sent, ranks = draw(st.integers(1, 10**9)), draw(st.sampled_from((1, 2, 8)))
    stages = draw(st.integers(1, 4))
    layers = draw(st.integers(1, 80))
    return KvPayload(sent, sent * stages, ranks * stages, ranks, layers, stages)


adapters = st.builds(Adapters, st.floats(1e9, 1e11), st.integers(1, 8), st.just(8))
connectors = st.builds(Connector, st.floats(0.2, 1.0), st.floats(0.0, 1e-2), st.floats(0.0, 1e-3))
networks = st.builds(Network, adapters, adapters, connectors)
prefills = st.floats(0.0, 10.0)


def test_the_busier_end_sets_the_time() -> None:
    payload = KvPayload(10**9, 10**9 // 4, sender_ranks=1, receiver_ranks=4, layers=1)
    assert wire_s(payload, Network(NODE, NODE, FREE)) == pytest.approx(0.1)
    slow = replace(NODE, number=1)
    assert wire_s(replace(payload, sender_bytes=0), Network(NODE, slow, FREE)) == pytest.approx(0.1)


def test_a_long_prefill_hides_all_but_the_last_layer() -> None:
    payload = KvPayload(10**9, 10**9, 1, 1, layers=10)
    network = Network(NODE, NODE, FREE)
    assert layerwise_s(payload, network, prefill_s=60.0) == pytest.approx(0.01)


def test_a_slow_wire_shows_what_the_prefill_did_not_hide() -> None:
    payload = KvPayload(10**9, 10**9, 1, 1, layers=10)
    network = Network(NODE, NODE, FREE)
    assert layerwise_s(payload, network, prefill_s=0.05) == pytest.approx(0.1 - 0.05 * 0.9)
    staged = replace(payload, stages=2)
    assert layerwise_s(staged, network, prefill_s=0.05) == pytest.approx(0.1 - 0.025 * 0.9)


def test_exposed_is_what_a_wire_that_sends_each_layer_in_turn_leaves_over() -> None:
    payload, network = KvPayload(10**9, 10**9, 1, 1, layers=8), Network(NODE, NODE, FREE)
    for prefill_s in (0.01, 0.09, 0.1, 0.2, 1.0):
        free_at = 0.0
        for layer in range(1, 9):
            free_at = max(free_at, prefill_s * layer / 8) + 0.1 / 8
        assert layerwise_s(payload, network, prefill_s) == pytest.approx(free_at - prefill_s)


@given(payloads(), networks)
def test_no_transfer_beats_its_wire(payload: KvPayload, network: Network) -> None:
    assert whole_s(payload, network) >= wire_s(payload, network)
    assert wire_s(payload, network) * network.connector.share >= payload.received_bytes / (
        network.receiver.bytes_per_s(payload.receiver_ranks)
    ) * (1 - 1e-12)


@given(payloads(), networks, prefills)
def test_more_bytes_take_no_less(payload: KvPayload, network: Network, prefill_s: float) -> None:
    more = replace(
        payload,
        sender_bytes=payload.sender_bytes + 1000,
        receiver_bytes=payload.receiver_bytes + 1000,
    )
    assert whole_s(more, network) > whole_s(payload, network)
    assert layerwise_s(more, network, prefill_s) >= layerwise_s(payload, network, prefill_s)


@given(payloads(), networks, prefills)
def test_faster_adapters_take_no_more(
    payload: KvPayload, network: Network, prefill_s: float
) -> None:
    faster = replace(
        network,
        sender=replace(network.sender, bw_bytes_per_s=2 * network.sender.bw_bytes_per_s),
        receiver=replace(network.receiver, bw_bytes_per_s=2 * network.receiver.bw_bytes_per_s),
    )
    assert wire_s(payload, faster) == pytest.approx(wire_s(payload, network) / 2)
    assert whole_s(payload, faster) < whole_s(payload, network)
    assert layerwise_s(payload, faster, prefill_s) <= layerwise_s(payload, network, prefill_s)


@given(payloads(), networks, prefills)
def test_layer_by_layer_costs_at_most_its_synchronization(
    payload: KvPayload, network: Network, prefill_s: float
) -> None:
    layerwise = layerwise_s(payload, network, prefill_s)
    stops_s = payload.layers * network.connector.layer_s
    assert layerwise <= (whole_s(payload, network) + stops_s) * (1 + 1e-12)
    assert layerwise >= wire_s(payload, network) / payload.layers


@given(payloads(), networks, prefills, prefills)
def test_a_longer_prefill_hides_no_less(
    payload: KvPayload, network: Network, one: float, other: float
) -> None:
    short, long = sorted((one, other))
    assert layerwise_s(payload, network, long) <= layerwise_s(payload, network, short)


@given(payloads(), networks, prefills)
def test_the_better_way_is_one_of_the_two(
    payload: KvPayload, network: Network, prefill_s: float
) -> None:
    both = (whole_s(payload, network), layerwise_s(payload, network, prefill_s))
    assert shorter_s(payload, network, prefill_s) == min(both)
