"""What stands in for all-reduce among more ranks than were measured, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.accelerator import Link
from servecast.primitives.cost import Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.operations import ACTIVATION_BYTES, AllReduce
from servecast.primitives.stand_ins import LATENCY_SHARE, stand_in
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from tests.synthetic_tables import Floats, key, table
from tests.toy_deployments import DEVICE

SIZES = [2**power for power in range(5, 28)]
LATENCY_S, ELEMENT_S = 8e-6, 1e-11


def seconds(size: Floats, _ranks: Floats) -> Floats:
    return LATENCY_S + ELEMENT_S * size


def source() -> TableSource:
    """Four ranks: a latency, then a rate."""
    four = table(key("all_reduce"), [(size, 4) for size in SIZES], seconds)
    return TableSource(MeasuredTables(CostStore([four])), TablePreferences(("vllm",)))


def test_short_messages_wait_half_as_long_again_and_long_ones_send_more() -> None:
    short = source().seconds(AllReduce(SIZES[0] * ACTIVATION_BYTES, 8), DEVICE)
    assert short == pytest.approx((1 + LATENCY_SHARE) * LATENCY_S, rel=1e-3)
    long = source().seconds(AllReduce(SIZES[-3] * ACTIVATION_BYTES, 8), DEVICE)
    sends_more = (2 * 7 / 8) / (2 * 3 / 4)
    assert long == pytest.approx(1.5 * LATENCY_S + ELEMENT_S * SIZES[-3] * sends_more, rel=1e-3)


@pytest.mark.parametrize(("name", "error"), [("NVLink 4", 0.6), ("PCIe 5", 1.9)])
def test_it_is_flagged_with_what_was_measured_over_such_links(name: str, error: float) -> None:
    device = replace(DEVICE, link=Link(name, DEVICE.link.bw_bytes_per_s, 8))
    cost = source().cost(AllReduce(1e6, 8), device)
    assert cost.provenance is Provenance.EXTRAPOLATED
    assert cost.relative_error == pytest.approx(error)


@pytest.mark.parametrize("ranks", [2, 6, 16])
def test_odd_halves_and_other_nodes_have_no_way_down_to_four(ranks: int) -> None:
    found = stand_in(AllReduce(1e6, ranks), replace(DEVICE, link=Link("NVLink 4", 1e11, 8)))
    halves = [part.ranks for _, part in found.parts if isinstance(part, AllReduce)] if found else []
    assert halves == ([3, 3] if ranks == 6 else [])
