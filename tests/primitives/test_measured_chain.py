"""The default chain: tables, then measured elementwise layers, then what is always there."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.primitives.cost import CostSource, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, cost_table
from servecast.primitives.dtype import Dtype
from servecast.primitives.measured_chain import measured_chain
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.operations import Elementwise, Gemm
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.table_preferences import TablePreferences
from tests.synthetic_tables import gemm_table, key
from tests.toy_deployments import DEVICE

SHAPES = ((4096, 4096),)
WORK = Elementwise(4096 * 4096 * 4 * 2.0)


def chain(*tables: CostTable) -> CostSource:
    measured = MeasuredTables(CostStore([gemm_table(SHAPES), *tables]))
    return measured_chain(measured, TablePreferences.of_engine("vllm", "0.24.0"), RooflineSource())


def norms(source: str) -> CostTable:
    points = [(tokens, 4096) for tokens in (1, 64, 4096)]
    of = key("elementwise", source=source, variant="layer=layernorm")
    return cost_table(of, np.array(points), np.full(len(points), 1e-3))


def test_what_tables_hold_is_theirs() -> None:
    cost = chain(norms("vllm")).cost(Gemm(64.0, 4096, 4096, Dtype.BF16), DEVICE)
    assert cost.provenance is Provenance.MEASURED


@pytest.mark.parametrize("source", ["vllm", "servecast"])
def test_elementwise_work_is_measured_where_the_engine_or_our_profiler_measured_any(
    source: str,
) -> None:
    cost = chain(norms(source)).cost(WORK, DEVICE)
    assert cost.provenance is Provenance.INTERPOLATED
    np.testing.assert_allclose(cost.seconds, 1e-3)


def test_elsewhere_it_falls_to_the_last_source() -> None:
    for found in (chain(), chain(norms("sglang"))):
        assert found.cost(WORK, DEVICE).provenance is Provenance.ROOFLINE
