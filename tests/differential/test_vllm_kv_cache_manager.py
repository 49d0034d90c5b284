"""Our KV cache manager and vLLM's own do the same, operation by operation, block by block."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from servecast.timewarp.foreign import foreign
from tests.differential.kv_manager_loop import Loop
from tests.differential.kv_managers import GROUPS, LONGEST, Both, Scenario, scenarios

pytestmark = pytest.mark.engine(name="vllm")


@pytest.fixture(autouse=True, scope="module")
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")
    utilities = foreign("vllm.v1.core.kv_cache_utils")
    utilities.init_none_hash(foreign("vllm.utils.hashing").sha256_cbor)
    foreign("vllm.v1.core.single_type_kv_cache_manager").register_all_kvcache_specs(None)


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("caching", [True, False])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(scenario=scenarios)
def test_every_operation_is_vllms(name: str, caching: bool, scenario: Scenario) -> None:
    groups = GROUPS[name]
    under_way = (1 + scenario.lag) * (scenario.budget + scenario.lookahead)
    longest = sum(group.blocks(LONGEST - 8, under_way) for group in groups)
    both = Both(groups, longest + scenario.spare_blocks, caching, scenario)
    Loop(both).run()
    assert both.ours.pool.free == both.ours.pool.total
