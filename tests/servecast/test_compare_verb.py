"""`servecast compare`: two scenario files, a table of differences, and JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import FIXED, assert_refused, run


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(FIXED, encoding="utf-8")
    fewer = FIXED.replace("max_num_seqs: 64", "max_num_seqs: 2")
    assert fewer != FIXED
    Path("other.yaml").write_text(fewer, encoding="utf-8")


def test_differences_are_shown_with_what_is_more_than_chance() -> None:
    told = run("compare", "one.yaml", "other.yaml")
    assert told.code == 0, told.err
    assert "other against one: the same requests" in told.out
    (line,) = [line for line in told.out.splitlines() if line.startswith("ttft:mean")]
    assert "+" in line
    assert line.rstrip().endswith("slower")
    assert "per million output tokens" in told.out


def test_json_has_both_runs_and_every_difference_in_seconds() -> None:
    found = run("compare", "one.yaml", "other.yaml", "--json").json
    assert found["paired"] is True
    assert [each["requests"] for each in found["runs"]] == [150, 150]
    first = found["differences"][0]
    assert (first["metric"], first["statistic"]) == ("ttft", "mean")
    assert first["other_s"] > first["one_s"]
    assert first["seen"] is True


def test_an_open_choice_is_refused() -> None:
    several = FIXED.replace("max_num_seqs: 64", "max_num_seqs: [64, 128]")
    Path("open.yaml").write_text(several, encoding="utf-8")
    assert_refused(run("compare", "one.yaml", "open.yaml"), 2, "max_num_seqs")


def test_a_file_that_is_not_there_is_refused() -> None:
    assert_refused(run("compare", "one.yaml", "none.yaml"), 2, "none.yaml")
