"""Adapters: how much of a node's leads out of it for a few of its ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Link
from servecast.primitives.catalogue import accelerator
from servecast.primitives.network import Adapters
from tests.toy_deployments import DEVICE


def test_each_rank_has_its_own_adapter_where_there_are_as_many() -> None:
    node = Adapters(1e10, number=8, node_ranks=8)
    assert [node.bytes_per_s(ranks) for ranks in (1, 2, 8)] == [1e10, 2e10, 8e10]


def test_ranks_that_share_an_adapter_find_no_less_than_one() -> None:
    node = Adapters(1e10, number=2, node_ranks=8)
    assert [node.bytes_per_s(ranks) for ranks in (1, 4, 5, 8)] == [1e10, 1e10, 2e10, 2e10]


def test_a_replica_over_two_nodes_has_the_adapters_of_both() -> None:
    assert Adapters(1e10, number=1, node_ranks=8).bytes_per_s(16) == 2e10


def test_the_catalogue_gives_an_adapter_of_400_gbit_to_each_h100() -> None:
    assert Adapters.network(accelerator("h100_sxm")) == Adapters(50e9, number=8, node_ranks=8)


def test_inside_a_node_it_is_the_scale_up_link() -> None:
    assert Adapters.scale_up(DEVICE).bytes_per_s(2) == 2 * DEVICE.link.bw_bytes_per_s


def test_what_the_catalogue_does_not_know_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="network adapter of toy is not known"):
        Adapters.network(replace(DEVICE, network_bytes_per_s=None))
    with pytest.raises(UnsupportedError, match="no link"):
        Adapters.scale_up(replace(DEVICE, link=Link("none", 0.0, 1)))
