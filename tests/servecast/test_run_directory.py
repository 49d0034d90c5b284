"""A run's folder: whole or absent, equal for equal questions, never in place of other files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.run_directory import require_place
from servecast.writing import require_writable
from tests.command import SMALL, environment, run, write


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("trials", [64, 2])
def test_equal_questions_give_equal_bytes_in_any_process(trials: int) -> None:
    """Two spaces: one answered whole, one through the sampler."""
    write(Path())
    command = [sys.executable, "-m", "servecast", "recommend", "small.yaml", "--json"]
    processes = [
        subprocess.Popen(
            [*command, "--trials", str(trials), "--runs", f"runs{seed}"],
            env=environment(PYTHONHASHSEED=seed),
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "31337")
    ]
    first, second = (process.communicate()[0].decode() for process in processes)
    assert first.replace("runs1", "runs31337") == second
    found, again = contents(Path("runs1")), contents(Path("runs31337"))
    assert list(found) == list(again)
    assert found == again
    assert "small/requests.csv.gz" in found


def test_another_hour_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path())
    run("recommend", "small.yaml", "--runs", "a")
    monkeypatch.setattr("time.time", lambda: 4e9)
    run("recommend", "small.yaml", "--runs", "b")
    assert contents(Path("a")) == contents(Path("b"))


def test_a_second_run_takes_the_place_of_the_first() -> None:
    write(Path())
    run("recommend", "small.yaml")
    stale = Path("runs/small/deploy/9/serve.sh")
    stale.parent.mkdir(parents=True)
    stale.write_text("stale")
    assert run("recommend", "small.yaml").code == 0
    assert not stale.exists()
    assert [path.name for path in Path("runs").iterdir()] == ["small"]


def test_what_is_no_run_is_left_alone() -> None:
    write(Path())
    mine = Path("small/thesis.txt")
    mine.parent.mkdir()
    mine.write_text("years of work")
    told = run("recommend", "small.yaml", "--runs", ".")
    assert told.code == 2
    assert "is not a run of servecast" in told.err
    assert "--runs" in told.err
    assert mine.read_text() == "years of work"


def test_the_place_is_asked_for_before_the_search() -> None:
    Path("small").write_text("a file of that name")
    with pytest.raises(InputError, match="not a run"):
        require_place(Path("small"))
    require_place(Path("new") / "small")
    assert not Path("new").exists(), "asking leaves nothing behind"


def test_nothing_that_misses_the_slos_is_handed_out_ready_to_start() -> None:
    write(Path(), SMALL.replace("40ms", "1ms"))
    assert run("recommend", "small.yaml").code == 3
    names = {path.name for path in Path("runs/small").iterdir()}
    assert names == {"config.yaml", "manifest.json", "trials.csv", "requests.csv.gz"}


def test_an_earlier_runs_files_do_not_survive_a_run_without_an_answer() -> None:
    write(Path())
    run("recommend", "small.yaml")
    write(Path(), SMALL.replace("40ms", "1ms"))
    run("recommend", "small.yaml")
    assert not Path("runs/small/deploy").exists()


def test_three_deployments_at_most_get_files() -> None:
    write(Path(), SMALL.replace("[32, 64]", "[2, 4, 8, 16, 32, 64]"))
    run("recommend", "small.yaml")
    assert {path.name for path in Path("runs/small/deploy").iterdir()} <= {"1", "2", "3"}


def test_start_scripts_can_be_started() -> None:
    write(Path())
    run("recommend", "small.yaml")
    for name in ("serve.sh", "verify.sh"):
        path = Path("runs/small/deploy/1") / name
        assert os.access(path, os.X_OK)
        assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_asking_whether_a_folder_can_be_written_leaves_nothing() -> None:
    require_writable(Path("a") / "b")
    assert list(Path().iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        require_writable(Path("/proc/1/nothing"))
