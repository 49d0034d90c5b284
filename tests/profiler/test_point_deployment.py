"""Labels to deployments: of servers that do both, and of one replica of a pool."""

from __future__ import annotations

import pytest

from servecast.errors import UnsupportedError
from servecast.profiler.point_deployment import clients_of, deployment_of, replica_of
from tests.profiler.silicon_rows import point, pools


def test_a_replica_may_span_nodes_and_an_aggregated_server_may_not() -> None:
    wide = point(tp_size="16", moe_tp_size="1")
    assert replica_of(wide).cut.gpus == 16
    with pytest.raises(UnsupportedError, match="16 GPUs are more than the 8"):
        deployment_of(wide)


def test_two_pools_have_no_one_deployment() -> None:
    with pytest.raises(UnsupportedError, match="two pools"):
        deployment_of(pools())


def test_a_load_that_nobody_states_is_refused() -> None:
    assert clients_of(point()) == 4
    with pytest.raises(UnsupportedError, match="neither concurrency nor batch_size"):
        clients_of(point(concurrency="", batch_size=""))
