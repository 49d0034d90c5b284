"""The roofline against phases and rates that others published: how far off, and on which side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.queued_throughput import forecast, rows
from benchmarks.static_phases import GPUS, Static, floor_ms, static_batches


@pytest.fixture(scope="module")
def measured(data_dir: Path) -> tuple[Static, ...]:
    return tuple(row for row in static_batches(data_dir) if row.fits)


@pytest.mark.slow
def test_the_device_alone_is_never_slower_than_the_server_was(
    measured: tuple[Static, ...],
) -> None:
    assert len(measured) == 6 * 19 - 2
    assert all(row.decode_ms[1] < row.decode_ms[0] for row in measured)
    assert all(row.prompt_ms[1] < row.prompt_ms[0] for row in measured)


@pytest.mark.slow
@pytest.mark.parametrize("gpu", GPUS)
def test_decodes_are_the_device_or_the_launches_whichever_is_longer(
    measured: tuple[Static, ...], gpu: str
) -> None:
    own = [row for row in measured if row.gpu == gpu]
    floor = floor_ms(own)
    errors = [max(row.decode_ms[1], floor) / row.decode_ms[0] - 1 for row in own]
    assert -0.12 < float(np.median(errors)) < 0.0
    assert float(np.percentile(np.abs(errors), 90)) < 0.20


@pytest.mark.slow
def test_queued_rates_are_on_the_safe_side_and_within_a_quarter(data_dir: Path) -> None:
    found = {
        (row["gpu"], row["isl"], row["osl"]): forecast(row) / float(row["out_tok_per_s"]) - 1
        for row in rows(data_dir)
    }
    assert len(found) == 20
    assert all(-0.26 < error < 0.02 for error in found.values())
    blackwell = [error for (gpu, *_), error in found.items() if "B200" in gpu]
    assert len(blackwell) == 10
    assert min(blackwell) > -0.12
