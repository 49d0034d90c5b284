"""Prompts beside decodes in one attention call, as long as such calls were measured to take."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.batch import Batch, Group
from servecast.primitives.cost_store import CostStore
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, HostTime
from servecast.profiler.mixed_step_cost import MixedRatio, MixedStepCost, mixed_ratio
from tests.synthetic_tables import key, table
from tests.toy_deployments import DENSE

HEADS = (32, 8, 128)
GRID = list(product((16, 64, 256), (0, 128), (1, 8, 64), (256, 1024)))
DECODES = Group(1, 8, 8 * 256, 0, True)
CHUNK = Group(64, 1, 0)


def store(without: int = 0) -> CostStore:
    """One call takes 1.5 times as long as both apart; 10 µs and 20 µs, whatever the size."""
    prefill = [(1, new, past, *HEADS, 0) for new, past, _, _ in GRID]
    decode = [(count, context, *HEADS, 0) for _, _, count, context in GRID]
    mixed = [(*at, *HEADS) for at in GRID[without:]]
    return CostStore(
        [
            table(key("prefill_attention"), prefill, lambda *at: 1e-5 + 0 * at[0]),
            table(key("decode_attention"), decode, lambda *at: 2e-5 + 0 * at[0]),
            table(key("mixed_attention"), mixed, lambda *at: 4.5e-5 + 0 * at[0]),
        ]
    )


def costs() -> tuple[CompiledStepCost, MixedStepCost]:
    ratio = mixed_ratio(store(), DENSE, "vllm")
    return (
        CompiledStepCost(DENSE, RooflineSource()),
        MixedStepCost(DENSE, RooflineSource(), HostTime(), ratio),
    )


def test_attention_of_both_takes_its_ratio_longer() -> None:
    apart, together = costs()
    decodes, chunk = Batch((DECODES,)), Batch((CHUNK,))
    both = Batch((DECODES, CHUNK))
    without = apart.step(both).device_ns
    attention_ns = apart.decode_run(8).attention_ns
    grown = together.step(both).device_ns - without
    assert grown > 0.5 * attention_ns[256]
    assert together.step(decodes) == apart.step(decodes)
    assert together.step(chunk) == apart.step(chunk)
    assert together.step(both).host_ns == apart.step(both).host_ns


def test_between_points_a_ratio_lies_between_theirs_and_beyond_it_is_the_edge_s() -> None:
    line = np.log(np.array([1.0, 2.0]))
    ratio = MixedRatio([line] * 4, np.arange(16, dtype=np.float64).reshape(2, 2, 2, 2))
    assert ratio.at(1, 0, 1, 1) == 0.0
    assert ratio.at(2, 1, 2, 2) == 15.0
    assert ratio.at(64, 63, 64, 64) == 15.0
    assert 0.0 < ratio.at(1, 0, 1, 2) < 15.0


@pytest.mark.parametrize("found", [CostStore([]), store(without=1)], ids=["none", "gaps"])
def test_without_a_full_grid_it_is_refused(found: CostStore) -> None:
    with pytest.raises(UnsupportedError, match="no full grid"):
        mixed_ratio(found, DENSE, "vllm")
