"""Prompts beside decodes in one attention call, as long as such calls were measured to take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable
from servecast.primitives.measured_chain import measured_chain
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.table_preferences import TablePreferences
from tests.synthetic_tables import key, table
from tests.toy_deployments import DENSE, WINDOWED

HEADS = (32, 8, 128)
GRID = list(product((16, 64, 256), (0, 128), (1, 8, 64), (256, 1024)))
DECODES = Group(1, 8, 8 * 256, 0, True)
CHUNK, WIDE = Group(64, 1, 0), Group(256, 1, 128)
SLOWER = {16: 1.2, 64: 1.5, 256: 2.0}


def alone() -> list[CostTable]:
    """10 µs for a prompt chunk and 20 µs for decodes, whatever the size."""
    prefill = [(1, new, past, *HEADS, 0) for new, past, _, _ in GRID]
    decode = [(count, context, *HEADS, 0) for _, _, count, context in GRID]
    return [
        table(key("prefill_attention"), prefill, lambda *at: 1e-5 + 0 * at[0]),
        table(key("decode_attention"), decode, lambda *at: 2e-5 + 0 * at[0]),
    ]


def together(source: str = "vllm", grid: Sequence[tuple[int, ...]] = GRID) -> CostTable:
    """One call for both takes longer than the two, the wider the chunk the more."""
    seconds = [3e-5 * SLOWER[new] for new, *_ in grid]
    points = [(*at, *HEADS) for at in grid]
    return table(key("mixed_attention", source=source), points, lambda *_: np.array(seconds))


def chain(*tables: CostTable) -> CostSource:
    measured = MeasuredTables(CostStore([*alone(), *tables]))
    return measured_chain(measured, TablePreferences.of_engine("vllm", "0.24.0"), RooflineSource())


def device_ns(source: CostSource, *groups: Group) -> int:
    return CompiledStepCost(DENSE, source).step(Batch(groups)).device_ns


def test_the_default_chain_prices_both_as_one_call_where_it_was_measured() -> None:
    apart, measured = chain(), chain(together())
    layers = DENSE.model.num_layers
    for chunk, ratio in ((CHUNK, 1.5), (WIDE, 2.0)):
        grown = device_ns(measured, DECODES, chunk) - device_ns(apart, DECODES, chunk)
        assert grown == pytest.approx((ratio - 1) * layers * 3e4, rel=0.02)
    for group in (DECODES, CHUNK):
        assert device_ns(measured, group) == device_ns(apart, group)


def test_the_widest_chunk_stands_for_all() -> None:
    apart, measured = chain(), chain(together())
    grown = device_ns(measured, DECODES, CHUNK, WIDE) - device_ns(apart, DECODES, CHUNK, WIDE)
    assert grown == pytest.approx(DENSE.model.num_layers * 4e4, rel=0.02)


def test_other_sources_kernels_and_gaps_in_the_grid_do_not_count() -> None:
    step = (DECODES, CHUNK)
    for found in (together("sglang"), together(grid=GRID[1:])):
        assert device_ns(chain(found), *step) == device_ns(chain(), *step)


def test_models_with_windows_are_priced_apart() -> None:
    assert CompiledStepCost(DENSE, chain(together())).is_mixed_measured
    assert not CompiledStepCost(WINDOWED, chain(together())).is_mixed_measured


def test_a_profile_at_one_past_and_context_is_a_grid_too() -> None:
    grid = [(new, 128, count, 1024) for new in (16, 64) for count in (1, 8)]
    source = chain(together("servecast", grid))
    assert device_ns(source, DECODES, CHUNK) > device_ns(chain(), DECODES, CHUNK)


def test_between_points_a_ratio_lies_between_theirs_and_beyond_it_is_the_edge_s() -> None:
    line = np.log(np.array([1.0, 2.0]))
    ratio = MixedRatio([line] * 4, np.arange(16, dtype=np.float64).reshape(2, 2, 2, 2))
    assert ratio.at(1, 0, 1, 1) == 0.0
    assert ratio.at(2, 1, 2, 2) == 15.0
    assert ratio.at(64, 63, 64, 64) == 15.0
    assert 0.0 < ratio.at(1, 0, 1, 2) < 15.0
