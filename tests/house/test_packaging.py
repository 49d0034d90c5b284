"""The packaging file, the folders, the links and the pins say the same."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.house.sources import FRONT_DOOR, ROOMS, ROOT, files, pyproject, rooms

SETUPTOOLS = pyproject()["tool"]["setuptools"]
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+")


def folder_of(package: str) -> Path:
    """Where a package's files really lie."""
    parts = package.split(".")
    mapped = SETUPTOOLS["package-dir"].get(".".join(parts[:2]))
    return ROOT.joinpath(mapped, *parts[2:]) if mapped else ROOT.joinpath(*parts)


def packages() -> set[str]:
    """Every folder with an `__init__.py`, by the name it is imported by."""
    found: set[str] = set()
    for room in (*rooms(), FRONT_DOOR):
        inside = () if room == FRONT_DOOR else (FRONT_DOOR,)
        for path in files(ROOT / room, "__init__.py"):
            found.add(".".join((*inside, *path.parent.relative_to(ROOT).parts)))
    return found


def package_folder(path: Path) -> Path:
    """The folder of the package that a file belongs to."""
    return next(folder for folder in path.parents if (folder / "__init__.py").exists())


def pins(name: str) -> dict[str, str]:
    """Version by distribution, of every `name==version` in a file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return {normal(pin): pin.partition("==")[2] for pin in PIN.findall(text)}


def normal(requirement: str) -> str:
    """The name of a requirement as registries compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[>=<!~\[]", requirement)[0]).lower()


def test_every_package_is_listed() -> None:
    assert set(SETUPTOOLS["packages"]) == packages()
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_every_room_is_mapped_and_linked() -> None:
    assert SETUPTOOLS["package-dir"] == {f"{FRONT_DOOR}.{room}": room for room in rooms()}
    links = {path for path in (ROOT / FRONT_DOOR).iterdir() if path.is_symlink()}
    assert {path.name: os.readlink(path) for path in links} == {
        room: f"../{room}" for room in rooms()
    }


def test_every_file_that_is_not_code_is_package_data() -> None:
    missing: list[Path] = []
    for package in SETUPTOOLS["packages"]:
        folder = folder_of(package)
        globs = SETUPTOOLS["package-data"].get(package, [])
        shipped = {path for glob in globs for path in folder.glob(glob)}
        owned = [path for path in files(folder) if package_folder(path) == folder]
        extra = [path for path in owned if path.suffix != ".py" and path.name != "ruff.toml"]
        missing += [path for path in extra if path not in shipped]
    assert missing == []


@pytest.mark.parametrize("package", sorted(SETUPTOOLS["package-data"]))
def test_every_glob_of_package_data_finds_something(package: str) -> None:
    folder = folder_of(package)
    assert all(list(folder.glob(glob)) for glob in SETUPTOOLS["package-data"][package])


@pytest.mark.parametrize("room", ["simulator", "traces"])
def test_a_room_with_bans_of_its_own_repeats_the_common_ones(room: str) -> None:
    own = tomllib.loads((ROOT / room / "ruff.toml").read_text(encoding="utf-8"))
    bans, common = (
        config["lint"]["flake8-tidy-imports"]["banned-api"]
        for config in (own, pyproject()["tool"]["ruff"])
    )
    assert set(common) == set(ROOMS)
    assert bans.items() > common.items()
    assert {"random", "time", "numpy.random.seed", "numpy.random.rand"} <= set(bans)


def test_constraints_are_pins_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if not PIN.fullmatch(line) and not line.startswith("#")]
    assert wrong == []


def test_everything_that_is_asked_for_is_pinned() -> None:
    groups = pyproject()["dependency-groups"].values()
    listed = [item for group in groups for item in group if isinstance(item, str)]
    project = pyproject()["project"]
    extras = [item for extra in project["optional-dependencies"].values() for item in extra]
    wanted = {normal(text) for text in [*project["dependencies"], *extras, *listed]}
    assert wanted <= set(pins("constraints.txt"))


def test_hooks_have_the_pins_of_the_constraints() -> None:
    hooks = pins(".pre-commit-config.yaml")
    assert hooks
    assert hooks.items() <= pins("constraints.txt").items()
