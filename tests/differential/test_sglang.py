"""Our scheduler of SGLang and SGLang's own take the same steps, one by one, to the nanosecond."""

from __future__ import annotations

import pytest

from servecast.traces.reshape import closed_loop
from tests.differential.sglang_configs import (
    CACHED,
    COARSE,
    FEW,
    PAGED,
    SHORT,
    UNCACHED,
    Config,
    Note,
    assert_same_steps,
    begun_alike,
    crowds,
    ragged,
)
from tests.timewarp.emulated_cases import burst, poisson
from tests.timewarp.sglang_cases import DEPLOYMENT, declared, pressed

pytestmark = pytest.mark.engine(name="sglang")

UNCACHED_CONFIGS = (
    Config("roomy", poisson(150, 8.0), 300_000, 0),
    Config("pressed", pressed(), 2400, 4),
    Config("longest output first", pressed(), 2400, 3, schedule_policy="lof"),
    Config("expecting little", pressed(), 2400, 5, conservativeness=0.3),
    Config("expecting all", pressed(), 2400, 3, conservativeness=2.0),
    Config("pages of 16", pressed(), 2400, 3, PAGED),
    Config("pages of 64", ragged(80, 6.0, 1), 4096, 0, COARSE, "fcfs", 0.1),
    Config("ragged", ragged(150, 9.0, 2), 4000, 1, PAGED, "fcfs", 0.2),
    Config("ragged, longest first", ragged(150, 30.0, 3), 4000, 1, PAGED, "lof", 0.1),
    Config("short chunks", ragged(80, 12.0, 4), 4000, 1, SHORT, "fcfs", 0.2),
    Config("few places", burst(40, [100, 1000, 17], [50, 3, 90]), 6000, 0, FEW),
    Config("bursts between rests", declared(poisson(60, 0.7)), 3000, 1),
    Config("crowds between rests", crowds(), 4000, 20, PAGED, "fcfs", 0.1),
    Config("closed loop", closed_loop(ragged(80, 1.0, 5), 24), 4000, 1, UNCACHED, "fcfs", 0.3),
)
CACHED_CONFIGS = (
    Config("cached", begun_alike(150, 9.0, 6), 60_000, 0, CACHED),
    Config("cached, pressed", begun_alike(150, 9.0, 7), 4000, 1, CACHED, "fcfs", 0.2),
    Config("cached, most first", begun_alike(150, 12.0, 8), 4000, 1, CACHED, "lpm", 0.2),
    Config("cached, crowd", begun_alike(250, 200.0, 9), 8000, 1, CACHED, "lpm", 0.3),
    Config("cached, longest first", begun_alike(150, 30.0, 10), 4000, 1, CACHED, "lof", 0.2),
    Config("cached, crowds", crowds(shared=6), 4000, 20, CACHED, "lpm", 0.1),
    Config("cached, page of 1", begun_alike(120, 9.0, 11, 1), 4000, 1, DEPLOYMENT, "fcfs", 0.2),
)


@pytest.mark.parametrize(
    "config", UNCACHED_CONFIGS + CACHED_CONFIGS, ids=lambda config: config.name
)
def test_both_take_the_same_steps(config: Config, record_property: Note) -> None:
    assert_same_steps(config, record_property)
