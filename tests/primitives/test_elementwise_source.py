"""Elementwise work priced by what it moves, along the curve of the measured layers."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable
from servecast.primitives.dtype import Dtype
from servecast.primitives.elementwise_source import MOVES, ElementwiseSource
from servecast.primitives.operations import Elementwise, Gemm
from tests.synthetic_tables import Floats, key, table
from tests.toy_deployments import DEVICE

TOKENS = (1, 4, 16, 64, 256, 1024, 4096)
WIDTHS = {"layernorm": 4096, "rotary_emb": 5120, "act_fn": 28672}
RATE = 2e12
LAUNCH_S = 2e-6


def seconds_of(moved: Floats | float) -> Floats:
    """A made-up device: a launch, then bytes at a rate."""
    return np.asarray(LAUNCH_S + moved / RATE)


def layer_table(layer: str, width: int) -> CostTable:
    """A layer on the line."""

    def seconds(tokens: Floats, elements: Floats) -> Floats:
        return seconds_of(2 * MOVES[layer] * tokens * elements)

    of = key("elementwise", variant=f"layer={layer}")
    return table(of, [(tokens, width) for tokens in TOKENS], seconds)


def odd_table() -> CostTable:
    """A layer of which it is not known what it moves, and far off the line."""

    def seconds(tokens: Floats, elements: Floats) -> Floats:
        return 1.0 + 0.0 * tokens * elements

    return table(key("elementwise", variant="layer=embedding"), [(1, 4096), (64, 4096)], seconds)


def source() -> ElementwiseSource:
    tables = [layer_table(layer, width) for layer, width in WIDTHS.items()]
    return ElementwiseSource(CostStore([*tables, odd_table()]), "vllm")


def price(moved: Floats | float) -> Cost:
    return source().cost(Elementwise(moved), DEVICE)


@pytest.mark.parametrize("moved", [1e4, 1e6, 2e7, 1e8])
def test_between_layers_the_curve_is_theirs(moved: float) -> None:
    found = price(moved)
    assert float(found.seconds) == pytest.approx(float(seconds_of(moved)), rel=0.12)
    assert found.provenance is Provenance.INTERPOLATED
    assert 0 < found.relative_error < 0.2


def test_beyond_the_largest_it_goes_on_by_bandwidth() -> None:
    near, far = price(1e9), price(2e9)
    assert far.provenance is Provenance.EXTRAPOLATED
    assert float(far.seconds) == pytest.approx(2 * float(near.seconds))


def test_nothing_to_move_takes_as_long_as_the_least_that_was_measured() -> None:
    assert float(price(0.0).seconds) == pytest.approx(LAUNCH_S, rel=0.05)


def test_a_curve_of_sizes_has_a_time_for_each_and_never_falls() -> None:
    seconds = np.asarray(price(np.geomspace(1.0, 1e9, 200)).seconds)
    assert seconds.shape == (200,)
    assert np.all(np.diff(seconds) >= 0)


def test_other_operations_and_devices_without_tables_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="Gemm"):
        source().cost(Gemm(1, 1, 1, Dtype.BF16), DEVICE)
    with pytest.raises(UnsupportedError, match="toy"):
        ElementwiseSource(CostStore([]), "vllm").cost(Elementwise(1.0), DEVICE)
    with pytest.raises(UnsupportedError, match="toy"):
        ElementwiseSource(CostStore([]), "sglang").cost(Elementwise(1.0), DEVICE)
