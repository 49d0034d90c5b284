"""`servecast doctor`: what is here, and what to type for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import run

KIND = type(INSTALLATIONS["vllm"])


def test_the_commands_for_what_is_missing_are_shown_one_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(KIND, "found", None)
    told = run("doctor")
    assert told.code == 0
    for known in INSTALLATIONS.values():
        assert f"to emulate {known.title}, without a GPU:" in told.out
        for command in known.commands:
            assert f"\n  {command}\n" in told.out


def test_all_engines_are_listed_with_their_tested_releases() -> None:
    told = run("doctor")
    for title, release in (("vLLM", "0.32.0"), ("SGLang", "0.5.23"), ("transformers", "5.23.0")):
        assert any(title in line and release in line for line in told.out.splitlines())


def test_the_pins_that_sglang_is_installed_with_are_where_the_command_says() -> None:
    (command,) = (each for each in INSTALLATIONS["sglang"].commands if " -r " in each)
    pins = Path(command.rpartition(" -r ")[2]).read_text(encoding="utf-8")
    assert "\nsglang==0.5.23\n" in pins


def test_what_can_be_emulated_needs_no_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KIND, "is_tested", True)
    told = run("doctor")
    assert "pip install" not in told.out
    assert told.out.count("can be emulated") == len(INSTALLATIONS)


def test_json_has_what_a_script_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KIND, "found", "0.31.0")
    vllm = run("doctor", "--json").json["engines"]["vllm"]
    assert vllm["installed"] == "0.31.0"
    assert vllm["tested"] == ["0.32.0"]
    assert vllm["usable"] is False
    assert vllm["install"] == list(INSTALLATIONS["vllm"].commands)
