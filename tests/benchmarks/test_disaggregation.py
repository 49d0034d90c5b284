"""Published figures of disaggregated serving, and how near ours are."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.aggregated_or_disaggregated import Point, page, rows
from benchmarks.disaggregation import distserve, published, splitwise


def test_table_2_is_read(data_dir: Path) -> None:
    table = published(data_dir)
    assert [point.rate_per_s for point in table] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert (table[3].together, table[3].apart) == (44.9, 87.3)


@pytest.mark.slow
def test_one_factor_on_all_steps_gives_distserve_s_column(data_dir: Path) -> None:
    found = distserve(published(data_dir)[::2])
    apart = [float(row["ours apart %"]) for row in found]
    assert apart == sorted(apart, reverse=True)
    errors = [
        abs(float(row["DistServe-Low %"]) - ours) for row, ours in zip(found, apart, strict=True)
    ]
    assert max(errors) < 7.5
    assert all(
        float(row["ours together %"]) <= ours for row, ours in zip(found, apart, strict=True)
    )


def test_layers_delay_the_second_token_by_what_splitwise_published(data_dir: Path) -> None:
    long = [row for row in splitwise(data_dir) if int(row["prompt"]) >= 1024]
    assert [row["second token, by layer %"] for row in long] == pytest.approx([16.5] * 2, abs=0.5)
    assert all(
        float(row["second token, whole %"]) > float(row["second token, by layer %"]) for row in long
    )


def test_the_figure_names_what_meets_the_objectives_at_the_least_cost() -> None:
    rates = (10.0, 20.0, 40.0)
    found = [
        (Point(rate, "3 together", 3, 0.99), Point(rate, "1 + 1", 2, 0.97 if rate < 30 else 0.5))
        for rate in rates
    ]
    facts = dict(page(found).facts)
    assert facts["10 requests/s"] == "1 + 1: 5.98 USD/h"
    assert facts["40 requests/s"] == "3 together: 8.97 USD/h"
    assert [len(panel.series) for panel in page(found).panels] == [2, 2, 2]
    assert [row["apart %"] for row in rows(found)] == [97.0, 97.0, 50.0]
