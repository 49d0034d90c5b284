"""SGLang's loop with overlap, and mixed chunks: our steps are its own, to the nanosecond."""

from __future__ import annotations

import dataclasses

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
    real,
    stepped,
)
from tests.timewarp.emulated_cases import burst, poisson
from tests.timewarp.emulated_cases import requests as arrivals
from tests.timewarp.sglang_cases import DEPLOYMENT, declared, pressed

pytestmark = pytest.mark.engine(name="sglang")

ROOMY = Config("roomy", poisson(150, 8.0), 300_000, 0)
PRESSED = Config("pressed", pressed(), 2400, 4)
LONGEST = Config("longest output first", pressed(), 2400, 3, schedule_policy="lof")
TRUSTING = Config("expecting little", pressed(), 2400, 5, conservativeness=0.3)
WIDE = Config("pages of 64", ragged(80, 6.0, 1), 4096, 0, COARSE, "fcfs", 0.1)
CHOPPED = Config("short chunks", ragged(80, 12.0, 4), 4000, 0, SHORT, "fcfs", 0.2)
CROWDED = Config("few places", burst(40, [100, 1000, 17], [50, 3, 90]), 6000, 0, FEW)
RESTS = Config("bursts between rests", declared(poisson(60, 0.7)), 3000, 1)
CROWDS = Config("crowds between rests", crowds(), 4000, 20, PAGED, "fcfs", 0.1)
LOOP = Config("closed loop", closed_loop(ragged(80, 1.0, 5), 24), 4000, 1, UNCACHED, "fcfs", 0.3)
FOUND = Config("cached, pressed", begun_alike(150, 9.0, 7), 4000, 1, CACHED, "fcfs", 0.2)
FIRST = Config("cached, most first", begun_alike(250, 200.0, 9), 8000, 1, CACHED, "lpm", 0.3)
TREE = Config("along the tree", begun_alike(120, 200.0, 12), 6000, 1, CACHED, "dfs-weight", 0.2)
ALIKE = Config("cached, crowds", crowds(shared=6), 4000, 20, CACHED, "lpm", 0.1)
TOKENS = Config("page of 1", begun_alike(120, 9.0, 11, 1), 4000, 1, DEPLOYMENT, "fcfs", 0.2)

AHEAD = (
    *(PRESSED, LONGEST, TRUSTING, WIDE, CHOPPED, CROWDED, RESTS, CROWDS, LOOP, ROOMY),
    *(FOUND, FIRST, TREE, ALIKE, TOKENS),
)
MIXED = (PRESSED, CHOPPED, LOOP, FIRST)


@pytest.mark.parametrize("config", AHEAD, ids=lambda config: config.name)
def test_with_overlap(config: Config, record_property: Note) -> None:
    assert_same_steps(config.ahead(), record_property)


@pytest.mark.parametrize("config", MIXED, ids=lambda config: config.name)
def test_with_overlap_and_mixed_chunks(config: Config, record_property: Note) -> None:
    assert_same_steps(config.ahead(mixes=True), record_property)


def test_mixed_chunks_between_steps(record_property: Note) -> None:
    assert_same_steps(dataclasses.replace(LOOP, mixes=True), record_property)


def test_outputs_that_the_pool_cuts_short_end_alike(record_property: Note) -> None:
    many = ragged(30, 5.0, 13)
    long = dataclasses.replace(
        many,
        prompt_tokens=many.prompt_tokens + 500,
        output_tokens=many.output_tokens + 400,
        max_tokens=many.max_tokens + 2000,
    )
    assert_same_steps(Config("tight", long, 1500, 0).ahead(), record_property)


def test_who_is_refused_is_the_same_and_costs_sglang_a_step_of_one_token() -> None:
    """It sends a stub of what it refuses through its queue; the simulator leaves that out."""
    short = declared(arrivals([0.0, 0.01, 0.02], [100, 1494, 50], [20]))
    config = Config("refusing", short, 1500, 0).ahead()
    run, (ours, records) = real(config), stepped(config)
    theirs = [batch.computed for batch in run.batches.batches]
    stubs = [step for step in theirs if (1, 1, 0) in step]
    assert run.result.rejected.tolist() == [1]
    assert records.index.tolist() == [0, 2]
    assert len(stubs) == 1
    assert len(theirs) - len(ours) <= 1
