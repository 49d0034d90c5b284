"""Two runs side by side: pairs cancel what they have in common, and chance is told from change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.search.compare import Comparison, Difference, compare
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from tests.search_cases import workload
from tests.toy_deployments import DENSE

TRAFFIC = workload(400, 6.0)
SLOWER = replace(DENSE, max_num_seqs=4)


def run(deployment: Deployment = DENSE, seed: int = 0) -> Result:
    return simulate(deployment, workload(400, 6.0, seed))


def of(found: Comparison, metric: str, statistic: str) -> Difference:
    (each,) = [d for d in found.differences if (d.metric, d.statistic) == (metric, statistic)]
    return each


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare(run(), run())
    assert found.is_paired
    assert len(found.differences) == 12
    for each in found.differences:
        assert each.value == 0
        assert each.half_width == 0
        assert not each.is_seen


def test_the_figures_are_those_of_the_runs() -> None:
    one, other = run(), run(SLOWER)
    each = of(compare(one, other), "ttft", "p95")
    assert (each.one, each.other) == (one.ttft.p95, other.ttft.p95)
    assert each.value == other.ttft.p95 - one.ttft.p95


def test_fewer_places_are_seen_to_be_slower_to_the_first_token() -> None:
    each = of(compare(run(), run(SLOWER)), "ttft", "mean")
    assert each.value > 0
    assert each.is_seen
    assert of(compare(run(SLOWER), run()), "ttft", "mean").value == -each.value


def test_pairs_tell_smaller_differences_than_different_requests_do() -> None:
    slightly = replace(DENSE, max_num_batched_tokens=384)
    paired = of(compare(run(), run(slightly)), "e2e", "mean")
    apart = compare(run(), run(slightly, seed=1))
    assert not apart.is_paired
    assert paired.half_width < of(apart, "e2e", "mean").half_width / 3


def test_another_seed_is_seldom_taken_for_a_change() -> None:
    """At 95 %, of twenty pairs of seeds about one is."""
    taken = [of(compare(run(seed=s), run(seed=s + 20)), "e2e", "mean").is_seen for s in range(20)]
    assert sum(taken) <= 3


def test_who_was_rejected_by_one_is_left_out_of_the_pairs() -> None:
    short = run(replace(DENSE, max_model_len=450))
    found = compare(run(), short)
    assert len(short.rejected) > 0
    assert found.is_paired
    assert of(found, "e2e", "mean").half_width > 0


def test_a_fleet_is_compared_with_a_deployment() -> None:
    two = Fleet((Pool("a", DENSE), Pool("b", DENSE)))
    found = compare(run(), simulate_fleet(two, TRAFFIC))
    assert found.is_paired
    assert of(found, "e2e", "mean").value < 0


def test_too_few_requests_tell_nothing() -> None:
    few = simulate(DENSE, workload(12, 6.0))
    each = of(compare(few, few), "ttft", "mean")
    assert np.isnan(each.half_width)
    assert not each.is_seen


def test_a_run_that_served_nobody_is_refused() -> None:
    nobody = run()
    nobody = replace(nobody, records=nobody.records.rows(slice(0)))
    with pytest.raises(InputError, match="was served"):
        compare(run(), nobody)
