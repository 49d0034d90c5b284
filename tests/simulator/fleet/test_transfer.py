"""How long a KV cache is on its way between two pools."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.kv_payload import kv_payload
from servecast.primitives.network import MOONCAKE
from servecast.simulator.fleet.transfer import Transfer, Way
from tests.toy_deployments import DENSE, DEVICE

BYTES = kv_payload(DENSE, DENSE, 160).received_bytes


def test_a_stated_rate_is_reached() -> None:
    way = Way(Transfer(bw_bytes_per_s=1e9, latency_s=2e-3), DENSE, DENSE)
    assert way.wire_ns(160) == round(BYTES)
    assert way.exposed_ns(160, 0) == 2_000_000 + way.wire_ns(160)


def test_whole_blocks_are_sent() -> None:
    way = Way(Transfer(), DENSE, DENSE)
    assert way.wire_ns(145) == way.wire_ns(160) < way.wire_ns(161)


def test_the_network_s_rate_is_the_data_sheet_s_at_mooncake_s_share() -> None:
    network, inside = (Way(Transfer(link=link), DENSE, DENSE) for link in ("network", "scale_up"))
    assert network.wire_ns(160) == round(BYTES / (1e10 * MOONCAKE.share) * 1e9)
    assert inside.wire_ns(160) == pytest.approx(network.wire_ns(160) / 10, abs=1)


def test_ranks_bring_their_adapters() -> None:
    one, four = (
        Way(Transfer(bw_bytes_per_s=1e9), each, each)
        for each in (DENSE, replace(DENSE, tensor_parallel_size=4))
    )
    assert four.wire_ns(160) == pytest.approx(one.wire_ns(160) / 4, abs=1)


def test_the_slower_end_decides() -> None:
    """Four ranks send what one rank receives over one adapter."""
    four = replace(DENSE, tensor_parallel_size=4)
    alone = Way(Transfer(bw_bytes_per_s=1e9), DENSE, DENSE)
    assert Way(Transfer(bw_bytes_per_s=1e9), four, DENSE).wire_ns(160) == alone.wire_ns(160)


def test_layers_hide_behind_the_prompt_as_far_as_it_lasts() -> None:
    way = Way(Transfer(bw_bytes_per_s=1e9, latency_s=0.0, by_layer=True), DENSE, DENSE)
    wire_ns, stops_ns = way.wire_ns(1600), 16 * round(MOONCAKE.layer_s * 1e9)
    assert way.exposed_ns(1600, 0) == wire_ns  # whole, which saves the stops
    assert way.exposed_ns(1600, 10**9) == pytest.approx(wire_ns / 16 + stops_ns, abs=1)
    half = way.exposed_ns(1600, wire_ns // 2)
    assert half == pytest.approx(wire_ns - wire_ns / 2 * 15 / 16 + stops_ns, abs=1)


@pytest.mark.parametrize("changes", [{"bw_bytes_per_s": 0.0}, {"latency_s": -1.0}])
def test_impossible_links_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match="no KV cache comes over"):
        replace(Transfer(), **changes)  # type: ignore[arg-type]


def test_an_accelerator_without_a_known_network_needs_a_stated_one() -> None:
    unknown = replace(DENSE, accelerator=replace(DEVICE, network_bytes_per_s=None))
    with pytest.raises(UnsupportedError, match="network adapter of toy is not known"):
        Way(Transfer(), unknown, DENSE)
    Way(Transfer(bw_bytes_per_s=1e9), unknown, DENSE)
