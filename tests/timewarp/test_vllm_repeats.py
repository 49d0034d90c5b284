"""The same emulation gives the same bytes, in this process and in others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import FIXED, run, run_process, write

pytestmark = pytest.mark.engine(name="vllm")


def test_three_runs_are_identical_to_the_last_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vllm")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, FIXED)
    command = ("emulate", "small.yaml", "--quiet", "--records")
    assert run(*command, "here.csv", "--batches", "here.jsonl").code == 0
    for seed in ("1", "2"):
        more = {"PYTHONHASHSEED": seed}
        names = (f"{seed}.csv", "--batches", f"{seed}.jsonl")
        assert run_process(*command, *names, cwd=tmp_path, more=more).code == 0
    for suffix in ("csv", "jsonl"):
        kinds = {(tmp_path / f"{name}.{suffix}").read_bytes() for name in ("here", "1", "2")}
        assert len(kinds) == 1
        assert len(kinds.pop()) > 1000
