"""Every example is valid, and those of an engine run where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import ROOT, run
from tests.engine_scenarios import EACH

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_an_example_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERVECAST_DATA", str(tmp_path))
    trace = tmp_path / "traces" / "azure2023_conv.csv.gz"
    trace.parent.mkdir()
    trace.touch()
    told = run("check", path)
    assert told.code == 0, told.err


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_an_example_says_the_command_that_takes_it(path: Path) -> None:
    assert f"examples/{path.name}" in path.read_text(encoding="utf-8")


def test_transformers_example_simulates_without_transformers() -> None:
    told = run("simulate", ROOT / "examples" / "emulate_transformers.yaml")
    assert told.code == 0, told.err
    assert "max_requests_per_batch 128 · max_batch_tokens 2048" in told.out


@pytest.mark.parametrize("engine", [each for each in EACH if each.values != ("vllm",)])
def test_an_engines_example_runs_as_it_is(engine: str) -> None:
    known = INSTALLATIONS[engine]
    if not known.is_tested:
        pytest.skip(f"no tested release of {engine} is installed")
    told = run("emulate", ROOT / "examples" / f"emulate_{engine}.yaml")
    assert told.code == 0, told.err
    assert told.out.rpartition("\n\n")[2].startswith(f"{known.title} {known.found} ran ")
