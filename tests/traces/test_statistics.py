from __future__ import annotations

import csv
from dataclasses import replace
from math import isclose
from pathlib import Path

import numpy as np
import pytest

from servecast.traces.prefixes import prefixes
from servecast.traces.readers import read
from servecast.traces.reshape import closed_loop
from servecast.traces.statistics import Statistics, statistics
from servecast.traces.workload import Workload


def workload(arrival_s: list[float], inputs: list[int], outputs: list[int]) -> Workload:
    arrival_ns = np.rint(np.array(arrival_s) * 1e9).astype(np.int64)
    prompt, output = np.array(inputs, np.int64), np.array(outputs, np.int64)
    return Workload("w", arrival_ns, prompt, output, output, attribution="owed")


def test_percentiles_are_interpolated_linearly() -> None:
    found = statistics(workload([0, 1, 2], [10, 20, 40], [3, 2, 1]))
    assert (found.name, found.rows, found.attribution) == ("w", 3, "owed")
    tokens = found.input_tokens
    assert isclose(tokens.mean, 70 / 3)
    assert (tokens.p50, tokens.max) == (20.0, 40)
    assert isclose(tokens.p95, 38.0)
    assert isclose(tokens.p99, 39.6)
    assert found.correlation is not None
    assert isclose(found.correlation, -0.98198, abs_tol=1e-5)


def test_windows_are_whole_and_empty_ones_count() -> None:
    # Counts of the four whole seconds: 3, 0, 1, 0; the arrival at 4.2 s is in none.
    found = statistics(workload([0, 0.5, 0.9, 2.0, 4.2], [1] * 5, [1] * 5)).arrivals
    assert found is not None
    assert found.span_s == 4.2
    assert isclose(found.rate_per_s, 4 / 4.2)
    assert [window.window_s for window in found.windows] == [1]
    assert isclose(found.windows[0].index_of_dispersion, 1.5)
    assert isclose(found.windows[0].peak_over_mean, 3.0)


def test_evenly_spaced_requests_do_not_vary() -> None:
    found = statistics(workload([float(second) for second in range(200)], [5] * 200, [5] * 200))
    assert found.arrivals is not None
    assert found.arrivals.interarrival_cv == 0.0
    assert [window.index_of_dispersion for window in found.arrivals.windows] == [0.0, 0.0, 0.0]
    assert found.correlation is None


def test_what_too_few_requests_cannot_define_is_left_out() -> None:
    for one_time in ([0.0], [3.0, 3.0]):
        found = statistics(workload(one_time, [1] * len(one_time), [2] * len(one_time)))
        assert found.arrivals is not None
        assert (found.arrivals.rate_per_s, found.arrivals.interarrival_cv) == (0.0, None)
        assert found.arrivals.windows == ()


def test_a_closed_loop_has_lengths_and_no_arrivals() -> None:
    found = statistics(closed_loop(workload([0, 1], [1, 2], [2, 3]), 2))
    assert found.arrivals is None
    assert found.output_tokens.max == 3


def test_a_trace_of_years_takes_no_memory_for_its_empty_seconds() -> None:
    found = statistics(workload([0, 8e9], [1, 2], [2, 3])).arrivals
    assert found is not None
    assert isclose(found.windows[0].peak_over_mean, 8e9)


def as_in_the_sheet(found: Statistics) -> dict[str, float]:
    """The columns of the published summary; its rate counts requests a span, ours gaps."""
    assert found.arrivals is not None
    assert found.arrivals.interarrival_cv is not None
    assert found.correlation is not None
    sheet = {
        "rows": found.rows,
        "span_s": round(found.arrivals.span_s, 1),
        "rate_rps": round(found.arrivals.rate_per_s * found.rows / (found.rows - 1), 3),
        "iat_cv": round(found.arrivals.interarrival_cv, 3),
        "corr_isl_osl": round(found.correlation, 3),
    }
    for window in found.arrivals.windows:
        sheet[f"idx_disp_{window.window_s}s"] = round(window.index_of_dispersion, 2)
        sheet[f"peak_over_mean_{window.window_s}s"] = round(window.peak_over_mean, 2)
    for prefix, tokens in (("isl", found.input_tokens), ("osl", found.output_tokens)):
        sheet[f"{prefix}_mean"] = round(tokens.mean, 1)
        sheet[f"{prefix}_p50"] = round(tokens.p50, 1)
        sheet[f"{prefix}_p95"] = round(tokens.p95, 1)
        sheet[f"{prefix}_p99"] = round(tokens.p99, 1)
        sheet[f"{prefix}_max"] = tokens.max
    return sheet


@pytest.mark.parametrize("name", ["azure2023_conv", "azure2023_code"])
def test_the_published_summary_of_a_trace_is_reproduced_to_its_last_digit(
    data_dir: Path, name: str
) -> None:
    with (data_dir / "traces" / "SUMMARY.csv").open(newline="") as text:
        summary = next(row for row in csv.DictReader(text) if row["trace"] == name)
    found = as_in_the_sheet(statistics(read(data_dir / "traces" / f"{name}.csv.gz")))
    assert len(found) == 21
    assert found == {column: float(summary[column]) for column in found}


@pytest.mark.parametrize(
    ("name", "blocks", "unique", "block_hit", "token_hit"),
    [
        ("mooncake_conversation", 288_500, 182_790, 0.3664, 0.3736),
        ("mooncake_synthetic", 121_877, 43_924, 0.6396, 0.6512),
    ],
)
def test_the_published_sharing_of_the_mooncake_traces_is_reproduced(
    data_dir: Path, name: str, blocks: int, unique: int, block_hit: float, token_hit: float
) -> None:
    found = statistics(read(data_dir / "traces" / f"{name}.jsonl.gz")).prefixes
    assert found is not None
    assert (found.blocks, found.unique_blocks) == (blocks, unique)
    assert round(found.block_hit, 4) == block_hit
    assert round(found.token_hit, 4) == token_hit


def test_what_only_an_output_holds_is_no_prompt_that_could_be_found() -> None:
    two_turns = workload([0, 1], [16, 40], [16, 1])
    found = statistics(replace(two_turns, prefixes=prefixes(16, [[1, 2], [1, 2]]))).prefixes
    assert found is not None
    assert (found.blocks, found.unique_blocks) == (3, 2)
    assert found.token_hit == 16 / 56
