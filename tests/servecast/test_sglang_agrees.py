"""The example of SGLang, emulated and simulated: the same answer."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from servecast.domain import deployment, workload
from servecast.emulation import run
from servecast.loading import load
from servecast.primitives.corrected_source import default_source
from servecast.simulator.records import Records
from servecast.simulator.simulate import simulate

EXAMPLE = Path(__file__).parents[2] / "examples" / "emulate_sglang.yaml"
ROWS = ("first_run", "last_run")
"""Of the run log: what skips has fewer."""


@pytest.mark.engine(name="sglang")
def test_every_request_has_the_same_times() -> None:
    scenario = load(EXAMPLE)
    served, traffic = deployment(scenario), workload(scenario)
    emulated = run(served, traffic, default_source()).result
    simulated = simulate(served, traffic)
    for column in (field.name for field in fields(Records) if field.name not in ROWS):
        true = getattr(emulated.records, column).tolist()
        assert getattr(simulated.records, column).tolist() == true, column
    assert simulated.peak_blocks <= simulated.num_blocks == emulated.num_blocks
