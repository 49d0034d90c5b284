"""Money and energy in the answers, and energy as what is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import FIXED, SMALL, run, write
from tests.servecast.minimal import FIXED as MINIMAL
from tests.servecast.minimal import faults


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def test_simulate_tells_what_is_spent() -> None:
    write(Path(), FIXED)
    told = run("simulate", "small.yaml")
    assert "$2.50 an hour, $" in told.out
    assert " W on average, " in told.out
    found = run("simulate", "small.yaml", "--json").json
    hours = found["duration_s"] / 3600
    tokens = found["output_tokens_per_s"] * found["duration_s"]
    assert found["usd_per_hour"] == 2.5
    assert found["gpu_hours"] == pytest.approx(hours)
    assert found["usd_per_million_output_tokens"] == pytest.approx(2.5e6 * hours / tokens)
    assert found["energy_wh"] == pytest.approx(found["average_w"] * hours)
    assert 119 < found["average_w"] < 700
    assert found["wh_per_million_output_tokens"] == pytest.approx(1e6 * found["energy_wh"] / tokens)
    assert 0 < found["roofline_utilisation"] < found["busy"] <= 1


def test_nothing_is_claimed_of_a_gpu_whose_powers_are_not_known() -> None:
    write(Path(), FIXED.replace("h100_sxm", "h100_pcie"))
    assert "W on average" not in run("simulate", "small.yaml").out
    found = run("simulate", "small.yaml", "--json").json
    for name in ("energy_wh", "average_w", "wh_per_million_output_tokens", "busy"):
        assert found[name] is None


def test_recommend_makes_energy_small() -> None:
    write(Path(), SMALL.replace("objective: cost", "objective: energy"))
    told = run("recommend", "small.yaml")
    assert told.code == 0, told.err
    assert " Wh per million output tokens" in told.out
    found = run("recommend", "small.yaml", "--json").json
    assert found["objectives"]["energy"] == found["result"]["wh_per_million_output_tokens"]


def test_energy_of_unknown_powers_cannot_be_asked_for() -> None:
    text = MINIMAL.replace("objective: cost", "objective: energy")
    found = faults(text.replace("h100_sxm", "h100_pcie"))["objective"]
    assert "what `h100_pcie` draws is not known" in found
    assert "powers are known of a100_sxm_80gb, h100_sxm" in found
    assert "objective: gpu_hours" in found


def test_the_catalogue_shows_both_powers() -> None:
    listed = json.loads(run("gpus", "--json").out)
    gpus = {each["gpu"]: each for each in listed}
    assert (gpus["h100_sxm"]["idle_w"], gpus["h100_sxm"]["tdp_w"]) == (119, 700)
    assert gpus["a10"]["idle_w"] is None
