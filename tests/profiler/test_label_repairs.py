"""Labels that cannot be true are mended, and nothing else is touched."""

from __future__ import annotations

import pytest

from servecast.profiler.label_repairs import layout
from tests.profiler.silicon_rows import point


@pytest.mark.parametrize(
    ("tp", "data", "moe_tp", "moe_ep", "meant"),
    [
        (16, 1, 4, 4, (4, 1, 4, 4)),
        (64, 1, 8, 8, (8, 1, 8, 8)),
        (1, 16, 4, 4, (1, 4, 4, 4)),
        (1, 4, 2, 2, (1, 2, 2, 2)),
        (4, 4, 1, 16, (4, 1, 4, 4)),
        (1, 1, 4, 1, (4, 1, 1, 4)),
    ],
)
def test_impossible_labels_are_mended(
    tp: int, data: int, moe_tp: int, moe_ep: int, meant: tuple[int, ...]
) -> None:
    sizes = {"tp_size": tp, "attention_dp_size": data, "moe_tp_size": moe_tp, "moe_ep_size": moe_ep}
    found = layout(point(**{k: str(v) for k, v in sizes.items()}), has_experts=True)
    assert (found.tensor, found.attention_data, found.moe_expert, found.gpus) == meant
    assert found.repair


@pytest.mark.parametrize(("moe_tp", "moe_ep"), [(8, 1), (1, 8), (2, 4)])
def test_possible_labels_stay(moe_tp: int, moe_ep: int) -> None:
    sizes = {"moe_tp_size": str(moe_tp), "moe_ep_size": str(moe_ep)}
    found = layout(point(**sizes), has_experts=True)
    assert (found.tensor, found.attention_data, found.moe_expert, found.gpus) == (8, 1, moe_ep, 8)
    assert not found.repair


def test_expert_sizes_of_a_dense_model_mean_nothing() -> None:
    found = layout(point(tp_size="2", moe_tp_size="0", moe_ep_size="0"), has_experts=False)
    assert (found.tensor, found.moe_expert, found.gpus, found.repair) == (2, 1, 2, "")


def test_clients_are_dealt_out_over_attention_ranks() -> None:
    sizes = {"tp_size": "1", "attention_dp_size": "8", "moe_tp_size": "1", "moe_ep_size": "8"}
    found = layout(point(**sizes), has_experts=True)
    assert (found.attention_data, found.gpus, found.repair) == (8, 8, "")
    assert [found.clients_a_rank(clients) for clients in (4, 16, 17)] == [1, 2, 3]
