"""A real trace, whole: the Azure 2023 conversation trace on one GPU and on a budget of eight.

The data is of the Azure Public Dataset (CC-BY-4.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servecast.domain import deployment, workload
from servecast.loading import load
from servecast.question import question
from servecast.search.recommend import recommend
from servecast.simulator.simulate import simulate

EXAMPLES = Path(__file__).parents[2] / "examples"
REQUESTS = 19_366


@pytest.fixture
def published(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVECAST_DATA", str(data_dir))


@pytest.mark.usefixtures("published")
def test_every_request_of_the_trace_is_served_by_8b_on_one_h100() -> None:
    scenario = load(EXAMPLES / "azure_8b_one_h100.yaml")
    traffic = workload(scenario)
    result = simulate(deployment(scenario), traffic)
    assert len(traffic) == REQUESTS
    assert len(result.records) + len(result.rejected) == REQUESTS
    assert result.output_tokens == int(traffic.output_tokens.sum())
    assert not result.is_overloaded
    assert np.all(result.records.arrival_ns <= result.records.scheduled_ns)
    assert result.attainment(scenario.slo) > 0.95


@pytest.mark.slow
@pytest.mark.usefixtures("published")
def test_a_deployment_of_70b_is_found_within_eight_h100() -> None:
    asked = question(load(EXAMPLES / "azure_70b_eight_h100.yaml"), trials=64)
    answer = recommend(asked)
    assert answer.best is not None
    assert answer.best.deployment.gpus <= 8
    assert all(reached.is_met for reached in answer.reached)
    assert len(answer.shown.result.records if answer.shown.result else []) == REQUESTS


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.usefixtures("published")
def test_every_example_is_valid(path: Path) -> None:
    assert len(workload(load(path))) > 0
