"""`async_scheduling: true` in a scenario: what is simulated, and what is emitted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from servecast.domain import deployment
from servecast.loading import load
from servecast.primitives.roofline import RELATIVE_ERROR, RooflineSource
from servecast.search.band import reached
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import parse_slo
from tests.command import FIXED, write
from tests.emitted_cases import BLOCKS, DEPLOYMENT
from tests.timewarp.emulated_cases import PLAIN, poisson

AHEAD = dataclasses.replace(PLAIN, async_scheduling=True)


def test_a_scenario_states_it(tmp_path: Path) -> None:
    stated = FIXED.replace("  max_num_seqs", "  async_scheduling: true\n  max_num_seqs", 1)
    assert deployment(load(write(tmp_path, stated))).async_scheduling
    assert not deployment(load(write(tmp_path, FIXED))).async_scheduling


def test_what_is_emitted_is_what_was_simulated() -> None:
    assert "--no-async-scheduling" in words(arguments(DEPLOYMENT, BLOCKS))
    ahead = words(arguments(dataclasses.replace(DEPLOYMENT, async_scheduling=True), BLOCKS))
    assert "--async-scheduling" in ahead
    assert "--no-async-scheduling" not in ahead


def test_it_hides_host_time_and_makes_arrivals_wait() -> None:
    source, traffic = RooflineSource(), poisson(150, 8.0)
    between, ahead = (simulate(each, traffic, source=source) for each in (PLAIN, AHEAD))
    saved_s = between.tpot.mean - ahead.tpot.mean
    assert 0.5e-3 < saved_s < 1.5e-3  # of 1.5 ms and 5 µs a sequence, 0.3 ms and those stay
    assert ahead.ttft.mean > between.ttft.mean


def test_its_band_is_around_its_value() -> None:
    source, traffic, slo = RooflineSource(), poisson(150, 8.0), parse_slo("tpot:mean < 40ms")
    result = simulate(AHEAD, traffic, source=source)
    (band,) = reached(result, traffic, [slo], source, RELATIVE_ERROR)
    middle = (band.low + band.high) / 2
    assert middle == pytest.approx(result.tpot.mean, rel=0.02)
