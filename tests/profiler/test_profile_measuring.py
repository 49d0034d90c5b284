"""A device measured into a file: what is asked, what is kept, what a second run adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.cost_file import read_costs, write_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import TableKey, cost_table
from servecast.profiler.measuring import Measurement, measure
from servecast.profiler.profiling import Budget, Progress
from tests.profiler.probe_cases import FakeBench, order, stepped

GRID = len(order().grid(""))
TARGET = "costs.csv.gz"


def run(bench: FakeBench, folder: Path, seconds: float = 1e6) -> Measurement:
    return measure(
        bench, order(), folder / TARGET, Budget(seconds, bench.clock), lambda progress: None
    )


def rows(folder: Path) -> int:
    return sum(map(len, read_costs(folder / TARGET)))


def test_the_whole_grid_is_measured_and_a_steady_device_needs_no_more(tmp_path: Path) -> None:
    found = run(FakeBench(), tmp_path)
    assert found.progress.measured == GRID == rows(tmp_path)
    assert found.progress.is_complete
    assert found.launch_s == {"eager": 5e-6}
    table = read_costs(tmp_path / TARGET).find("gemm", "h200_sxm", source="servecast")[0]
    assert table.key.version == "fake 1.0"
    assert table.seconds.min() == pytest.approx(5e-6 + 1e-9)
    assert np.nanmax(table.spread) == pytest.approx(0.01)
    assert table.origin.startswith("servecast profile run, 2")


def test_time_that_is_left_goes_to_the_jump(tmp_path: Path) -> None:
    bench = FakeBench(stepped)
    found = run(bench, tmp_path)
    beyond = bench.asked[GRID:]
    assert beyond
    assert {probe.key.operation for probe in beyond} == {"gemm"}
    assert found.progress.measured == len(bench.asked)


def test_it_ends_when_the_time_is_up_and_says_so(tmp_path: Path) -> None:
    found = run(FakeBench(), tmp_path, seconds=20)
    assert found.progress.measured == 20 == rows(tmp_path)
    assert not found.progress.is_complete


def test_a_second_run_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    first, second = FakeBench(stepped), FakeBench(stepped)
    run(first, tmp_path, seconds=20)
    found = run(second, tmp_path)
    assert found.progress.known == 20
    assert not set(first.asked) & set(second.asked)
    whole = FakeBench(stepped)
    (tmp_path / "whole").mkdir()
    run(whole, tmp_path / "whole")
    assert set(first.asked) | set(second.asked) == set(whole.asked)
    third = FakeBench(stepped)
    before = (tmp_path / TARGET).read_bytes()
    assert run(third, tmp_path).progress.measured == 0
    assert (tmp_path / TARGET).read_bytes() == before


def test_kernels_of_another_version_are_measured_beside_the_old_ones(tmp_path: Path) -> None:
    run(FakeBench(), tmp_path)
    found = run(FakeBench(version="fake 2.0"), tmp_path)
    assert found.progress.measured == GRID
    assert {table.key.version for table in found.tables} == {"fake 2.0"}
    assert rows(tmp_path) == 2 * GRID


def test_whatever_else_the_file_holds_stays(tmp_path: Path) -> None:
    key = TableKey("gemm", "a100_sxm_80gb", "bf16", "user", "")
    other = cost_table(key, np.array([[1, 2, 3]]), np.array([1e-6]), origin="mine")
    write_costs(CostStore([other]), tmp_path / TARGET)
    run(FakeBench(), tmp_path)
    (kept,) = read_costs(tmp_path / TARGET).find("gemm", "a100_sxm_80gb")
    assert kept.origin == "mine"
    assert rows(tmp_path) == GRID + 1


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(FakeBench(breaks_at=7), tmp_path)
    assert rows(tmp_path) == 7
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == [TARGET]


def test_ctrl_c_before_the_first_point_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(FakeBench(breaks_at=0), tmp_path)
    assert not (tmp_path / TARGET).exists()


def test_points_are_saved_while_it_runs(tmp_path: Path) -> None:
    seen: list[int] = []

    def step(progress: Progress) -> None:
        if (tmp_path / TARGET).exists():
            seen.append(progress.measured - rows(tmp_path))

    bench = FakeBench()
    measure(bench, order(), tmp_path / TARGET, Budget(40, bench.clock), step)
    assert seen
    assert max(seen) <= 12, "no more than ten seconds' points are at risk"


def test_graphs_and_eager_times_are_tables_apart(tmp_path: Path) -> None:
    found = run(FakeBench(has_graphs=True), tmp_path)
    assert rows(tmp_path) == 2 * GRID
    eager = [table for table in found.tables if table.key.is_eager]
    assert len(eager) * 2 == len(found.tables)
    assert all(table.seconds.min() > 15e-6 for table in eager)
    again = FakeBench(has_graphs=True)
    assert run(again, tmp_path).progress.measured == 0


def test_what_the_device_lacks_is_listed_and_the_rest_measured(tmp_path: Path) -> None:
    bench = FakeBench(lacks=lambda probe: probe.key.operation == "sampling")
    found = run(bench, tmp_path)
    assert {probe.key.operation for probe in found.progress.refused["has no such kernel"]} == {
        "sampling"
    }
    assert found.progress.measured == GRID - 5
    assert found.progress.is_complete


def test_calls_that_would_take_too_long_are_left_out(tmp_path: Path) -> None:
    bench = FakeBench(lambda probe: 0.02 * probe.sizes.get("m", 1))
    found = run(bench, tmp_path, seconds=4000)  # calls of up to 20 s
    (reason,) = found.progress.refused
    assert "20 s" in reason
    assert max(probe.sizes.get("m", 0) for probe in bench.asked) <= 1024


def test_a_file_that_holds_no_costs_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("mine\n")
    bench = FakeBench()
    with pytest.raises(InputError, match="no cost file"):
        measure(
            bench, order(), tmp_path / "notes.csv", Budget(9, bench.clock), lambda progress: None
        )
    assert (tmp_path / "notes.csv").read_text() == "mine\n"
    assert not bench.asked
