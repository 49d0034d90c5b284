"""Exchanges between ranks: what they send, and what they take beside published measurements."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.operations import AllReduce, Operation
from servecast.primitives.roofline import RooflineSource
from tests.toy_deployments import DEVICE

Kind = Literal["moe_dispatch", "moe_combine"]
LOW: Literal["low_latency"] = "low_latency"


def seconds(operation: Operation, device: Accelerator = DEVICE) -> float:
    return float(RooflineSource().seconds(operation, device))


def test_a_token_goes_to_each_of_its_experts_or_once_to_each_rank_that_has_some() -> None:
    low = ExpertExchange("moe_combine", "low_latency", 100.0, 1000, 8, 16, 2)
    throughput = ExpertExchange("moe_combine", "high_throughput", 100.0, 1000, 8, 16, 2)
    all_rows = 100 * 1000 * 2.0
    assert low.network_bytes == all_rows * 8 / 2  # half the experts are on the other node
    assert low.link_bytes == all_rows * 8 * 7 / 16
    both_nodes = 2 * (1 - 0.5**8)
    assert throughput.network_bytes == pytest.approx(all_rows * both_nodes / 2)
    assert throughput.network_bytes < low.network_bytes


def test_tokens_travel_in_eight_bits_with_scales_and_come_back_in_sixteen() -> None:
    dispatch = ExpertExchange("moe_dispatch", LOW, 1.0, 7168, 8, 8)
    combine = ExpertExchange("moe_combine", LOW, 1.0, 7168, 8, 8)
    assert dispatch.row_bytes == 7168 + 7168 / 128 * 4
    assert combine.row_bytes == 2 * 7168


@given(
    tokens=st.floats(1, 1e5),
    ranks=st.sampled_from([8, 16, 64]),
    low=st.booleans(),
    k=st.integers(1, 8),
)
def test_more_tokens_and_more_choices_take_no_less(
    tokens: float, ranks: int, low: bool, k: int
) -> None:
    mode: Literal["low_latency", "high_throughput"] = LOW if low else "high_throughput"
    one = ExpertExchange("moe_dispatch", mode, tokens, 4096, k, ranks, ranks // 8)
    more = ExpertExchange("moe_dispatch", mode, 2 * tokens, 4096, k + 1, ranks, ranks // 8)
    assert seconds(more) >= seconds(one)


def test_a_gather_and_a_scatter_take_an_all_reduce_and_one_more_latency() -> None:
    for ranks, nodes in ((8, 1), (16, 2), (32, 4)):
        halves = [
            seconds(Collective(kind, 1e8, ranks, nodes))
            for kind in ("all_gather", "reduce_scatter")
        ]
        latency = 3e-6 + 0.75e-6 * 8
        assert sum(halves) == pytest.approx(seconds(AllReduce(1e8, ranks)) + latency)


def test_ranks_that_are_alone_on_their_nodes_use_the_network_only() -> None:
    apart = Collective("all_gather", 1e8, 2, 2)
    assert seconds(apart) == pytest.approx(5e7 / (1e10 * 0.87) + 10e-6)
    assert seconds(Send(5e7)) == pytest.approx(seconds(apart))


@pytest.mark.parametrize(
    "operation",
    [
        Send(1.0),
        Collective("all_gather", 1.0, 16, 2),
        ExpertExchange("moe_dispatch", LOW, 1.0, 1000, 2, 16, 2),
    ],
)
def test_nothing_crosses_an_unknown_network(operation: Operation) -> None:
    with pytest.raises(UnsupportedError, match="network adapter of gb200 is not known"):
        seconds(operation, accelerator("gb200"))


def test_published_latencies_of_deepep_are_met(data_dir: Path) -> None:
    """Twelve rows of 128 tokens on 8 to 256 H800."""
    with (data_dir / "kernels" / "deepep.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["latency_us"]]
    errors: list[float] = []
    for row in rows:
        is_dispatch, ranks = row["op"].endswith("dispatch"), int(row["ep"])
        kind: Kind = "moe_dispatch" if is_dispatch else "moe_combine"
        exchange = ExpertExchange(kind, LOW, 128.0, 7168, 8, ranks, ranks // 8)
        took_s = float(row["latency_us"]) * 1e-6
        errors.append(seconds(exchange, accelerator("h800_sxm")) / took_s - 1)
    assert len(errors) == 12
    assert max(map(abs, errors)) < 0.13
    assert median(map(abs, errors)) < 0.04
