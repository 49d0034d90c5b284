"""SGLang that drafts, in both of its loops: our steps are its own, to the nanosecond."""

from __future__ import annotations

import dataclasses

import pytest

from servecast.primitives.speculation import Speculation
from servecast.traces.reshape import closed_loop
from tests.differential.sglang_configs import (
    CACHED,
    PAGED,
    SHORT,
    UNCACHED,
    Config,
    Note,
    begun_alike,
    crowds,
    ragged,
)
from tests.differential.sglang_drafts import HEAD, LOOKUP, MODEL, assert_same_steps, drafting
from tests.timewarp.sglang_cases import DEPLOYMENT, pressed

pytestmark = pytest.mark.engine(name="sglang")

PRESSED = Config("pressed", pressed(), 2400, 1, schedule_policy="lof")
RAGGED = Config("ragged", ragged(100, 30.0, 3), 4000, 1, PAGED, "lof", 0.1)
CHOPPED = Config("short chunks", ragged(80, 12.0, 4), 4000, 1, SHORT, "fcfs", 0.2)
CROWDS = Config("crowds between rests", crowds(), 4000, 20, PAGED, "fcfs", 0.1)
LOOP = Config("closed loop", closed_loop(ragged(80, 1.0, 5), 24), 4000, 1, UNCACHED, "fcfs", 0.3)
FOUND = Config("cached, pressed", begun_alike(100, 9.0, 7), 4000, 0, CACHED, "fcfs", 0.2)
FIRST = Config("cached, most first", begun_alike(120, 200.0, 9), 6000, 0, CACHED, "lpm", 0.2)
ALIKE = Config("cached, crowds", crowds(shared=6), 4000, 20, CACHED, "lpm", 0.1)
TOKENS = Config("page of 1", begun_alike(80, 9.0, 11, 1), 4000, 1, DEPLOYMENT, "fcfs", 0.2)

AHEAD = (
    *((PRESSED, LOOKUP), (RAGGED, MODEL), (CHOPPED, HEAD), (CROWDS, LOOKUP), (LOOP, MODEL)),
    *((FOUND, LOOKUP), (FIRST, HEAD), (ALIKE, HEAD), (TOKENS, HEAD)),
)
BETWEEN = ((CROWDS, HEAD), (RAGGED, LOOKUP), (FOUND, HEAD), (ALIKE, MODEL))


def _name(value: object) -> str:
    return value.name if isinstance(value, Config) else ""


@pytest.mark.parametrize(("config", "speculation"), AHEAD, ids=_name)
def test_with_overlap(config: Config, speculation: Speculation, record_property: Note) -> None:
    assert_same_steps(drafting(config, speculation, overlaps=True), record_property)


@pytest.mark.parametrize(("config", "speculation"), BETWEEN, ids=_name)
def test_without_overlap(config: Config, speculation: Speculation, record_property: Note) -> None:
    assert_same_steps(drafting(config, speculation, overlaps=False), record_property)


def test_texts_as_long_as_the_model_allows(record_property: Note) -> None:
    short = ragged(20, 5.0, 13)
    long = dataclasses.replace(
        short,
        output_tokens=short.output_tokens + 2000,
        max_tokens=short.output_tokens + 2000,
    )
    config = Config("longest", long, 60_000, 0, PAGED)
    assert_same_steps(drafting(config, HEAD, overlaps=True), record_property)
