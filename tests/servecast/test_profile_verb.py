"""`servecast profile`: what would be measured, what is refused, costs shown and imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.cost_file import read_costs, write_costs
from servecast.primitives.cost_table import TableKey, cost_table
from servecast.profiler import torch_bench
from servecast.profiler.probe import Probe, Timing
from tests.command import assert_refused, run

RUN = ("profile", "run", "--gpu", "h200_sxm", "--model", "Qwen/Qwen3-0.6B")


class QuickBench:
    """Stands in for PyTorch: any kernel takes 10 µs."""

    version = "quick 1"
    asked: ClassVar[list[tuple[str, int, int | None]]] = []
    """Device, processes and threads of every bench that was made."""

    def __init__(self, device: str, processes: int = 1, threads: int | None = None) -> None:
        self.asked.append((device, processes, threads))

    def time(self, probe: Probe) -> Timing:
        """10 µs, but for the sampler, which is missing."""
        if probe.key.operation == "sampling":
            raise UnsupportedError("has no sampler")
        return Timing(1e-5, 0.0)

    def launch_s(self) -> Mapping[str, float]:
        """3 µs."""
        return {"eager": 3e-6}

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVECAST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_bench, "TorchBench", QuickBench)


@pytest.mark.parametrize("verb", ["profile run", "profile show", "profile import"])
def test_every_verb_has_help_and_the_common_options(verb: str) -> None:
    told = run(*verb.split(), "-h")
    assert told.code == 0
    for option in ("--json", "--quiet", "--no-color"):
        assert option in told.out


def test_a_dry_run_needs_no_pytorch_and_writes_nothing() -> None:
    told = run(*RUN, "--dry-run", "-o", "costs.csv")
    assert told.code == 0
    assert ["gemm", "5", "40"] in [line.split() for line in told.out.splitlines()]
    assert list(Path().iterdir()) == []
    plan = run(*RUN, "--dry-run", "--json").json
    assert plan["grid"]["gemm"] == {"shapes": 5, "points": 40}
    assert plan["not_measured"] == {}


def test_a_dry_run_says_what_of_a_model_is_not_measured() -> None:
    told = run("profile", "run", "--gpu", "h200_sxm", "--model", "openai/gpt-oss-20b", "--dry-run")
    assert "whole steps: of dense models" in told.out
    assert "all-reduce" not in told.out


def test_only_what_is_asked_for_is_planned() -> None:
    plan = run(*RUN, "--operation", "gemm", "--operation", "sampling", "--dry-run", "--json").json
    assert set(plan["grid"]) == {"gemm", "sampling"}
    told = run(*RUN, "--operation", "gem", "--dry-run")
    assert_refused(told, 2, "operation `gem` is unknown", "did you mean `gemm`?")


def test_a_format_of_weights_changes_products_alone() -> None:
    bf16, fp8 = (run(*RUN, "--dtype", name, "--dry-run", "--json").json for name in ("bf16", "fp8"))
    assert bf16 == fp8, "as many shapes and points"


def test_several_processes_bring_collectives() -> None:
    plan = run(*RUN, "--processes", "2", "--dry-run", "--json").json
    assert plan["grid"]["all_to_all"] == {"shapes": 1, "points": 5}


def test_without_pytorch_the_extra_is_named_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_refused(run(*RUN, "-o", "costs.csv"), 2, "PyTorch", "servecast[profile]")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--gpu", "h200x"), "GPU `h200x` is unknown"),
        (("--model", "Qwen/Qwen3-0.6"), "did you mean `Qwen/Qwen3-0.6B`"),
        (("--tensor-parallel-size", "3"), "tensor_parallel_size 3"),
    ],
)
def test_mistyped_orders_are_refused(more: tuple[str, ...], says: str) -> None:
    assert_refused(run(*RUN, *more, "--dry-run"), 2, says)


def test_a_file_has_to_be_named() -> None:
    assert_refused(run(*RUN), 2, "-o costs.csv.gz")


@pytest.mark.usefixtures("quick")
def test_measuring_writes_a_cost_file_and_shows_it() -> None:
    told = run(*RUN, "-o", "new/costs.csv.gz")
    assert told.code == 0, told.err
    assert "207 points measured" in told.out
    assert "no further point pays" in told.err
    for words in ("starting a kernel: eager 3", "has no sampler", "left out", "0.0%"):
        assert words in told.out, words
    assert sum(map(len, read_costs("new/costs.csv.gz"))) == 207
    again = run(*RUN, "-o", "new/costs.csv.gz", "--json").json
    assert (again["measured"], again["known"], again["complete"]) == (0, 207, True)
    assert again["launch_s"] == {"eager": 3e-6}
    assert again["tables"][0]["rows"] > 0


@pytest.mark.usefixtures("quick")
def test_the_bench_is_made_as_asked() -> None:
    more = ("--device", "cpu", "--processes", "2", "--threads", "1", "--operation", "sampling")
    assert run(*RUN, *more, "-o", "costs.csv").code == 0
    assert QuickBench.asked[-1] == ("cpu", 2, 1)


@pytest.mark.usefixtures("quick")
def test_ctrl_c_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Probe] = []

    def broken(self: QuickBench, probe: Probe) -> Timing:
        calls.append(probe)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return Timing(1e-5, 0.0)

    monkeypatch.setattr(QuickBench, "time", broken)
    told = run(*RUN, "-o", "costs.csv")
    assert told.code == 130
    assert "3 new points kept in costs.csv: the same command goes on" in told.err
    assert sum(map(len, read_costs("costs.csv"))) == 3


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("load", "is_said"), [(0.0, False), (64.0, True)])
def test_a_busy_machine_is_said_to_be_one(
    load: float, is_said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    told = run(*RUN, "--device", "cpu", "-o", "costs.csv")
    assert ("this machine is busy (load 64.0)" in told.err) == is_said
    assert "busy" not in run(*RUN, "--device", "cuda", "-o", "costs.csv").err


def test_show_tells_tables_and_what_is_suspicious() -> None:
    key = TableKey("gemm", "h200_sxm", "bf16", "user", "1")
    points = np.array([[1, 4096, 4096], [64, 4096, 4096], [512, 4096, 4096]])
    table = cost_table(key, points, np.array([1e-5, 9e-5, 3e-5]), origin="a test")
    write_costs([table], "costs.csv")
    told = run("profile", "show", "costs.csv")
    assert told.code == 0, told.err
    assert "1 finding" in told.out
    assert "spikes: h200_sxm gemm bf16 user 1: 1 of 3 points" in told.out
    document = run("profile", "show", "costs.csv", "--json").json
    assert [found["rule"] for found in document["findings"]] == ["spikes"]
    (shown,) = document["tables"]
    assert (shown["operation"], shown["rows"], shown["p90_error"]) == ("gemm", 3, None)


@pytest.mark.parametrize("name", ["missing.csv", "folder/missing.csv.gz"])
def test_show_refuses_a_file_that_is_not_there(name: str) -> None:
    assert_refused(run("profile", "show", name), 2, name, "cannot be read")


def test_show_takes_what_is_no_file_for_a_gpu() -> None:
    assert_refused(run("profile", "show", "h200x"), 2, "GPU `h200x` is unknown")


def test_ones_own_csv_becomes_a_cost_file() -> None:
    Path("mine.csv").write_text(
        "operation,device,dtype,m,n,k,microseconds\ngemm,h200_sxm,bf16,8,4096,4096,7\n"
    )
    told = run("profile", "import", "csv", "mine.csv", "-o", "costs.csv.gz")
    assert told.out == "wrote costs.csv.gz: 1 table, 1 row\n"
    (table,) = read_costs("costs.csv.gz")
    assert table.seconds.tolist() == pytest.approx([7e-6])
    told = run("profile", "import", "csv", "mine.csv", "-o", "costs.csv.gz", "--json")
    assert told.json == {"written": "costs.csv.gz", "tables": 1, "rows": 1}


def test_a_database_that_is_not_known_is_usage() -> None:
    told = run("profile", "import", "acis", "h200_sxm", "-o", "x.csv")
    assert told.code == 2
    assert "'aic'" in told.err


def test_llmservingsim_is_imported_from_its_folder(data_dir: Path) -> None:
    folder = next(data_dir.rglob("lss_v0_layers.csv.gz")).parent
    told = run("profile", "import", "llmservingsim", folder, "-o", "lss.csv.gz", "--json")
    assert told.code == 0, told.err
    assert told.json["rows"] == sum(map(len, read_costs("lss.csv.gz")))
    assert told.json["rows"] > 10_000
