"""The installed AIConfigurator database: where it is, which devices and which files it has.

Only `data/<system>/<family>/<source>/<version>/<table>.parquet`, `query_versions.yaml` and the
`<system>.yaml` beside it are ever looked at; the package's other files, its end-to-end
measurements among them, are not.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from servecast.errors import InputError, unknown
from servecast.primitives.catalogue import accelerator
from servecast.profiler.parquet import INSTALL

DISTRIBUTION = "aiconfigurator-core"
VERSION = "0.12.0"

_FOLDERS = {"a100_sxm_80gb": "a100_sxm", "arc_pro_b60": "b60"}
"""The database's names of devices that the catalogue calls otherwise."""
_DEVICES = {folder: device for device, folder in _FOLDERS.items()}


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table of one system, measured in one version of one engine or library."""

    path: Path
    family: str
    source: str
    version: str

    @property
    def table(self) -> str:
        """The table's name."""
        return self.path.stem

    @property
    def origin(self) -> str:
        """Where its rows come from, as the store shows it."""
        return f"AIConfigurator {'/'.join(self.path.parts[-5:])}"


def systems_root(path: str | Path | None = None) -> Path:
    """The folder `systems` of the database: `path`, or the installed package's.

    InputError where nothing, or another version, is installed, or `path` holds no database.
    """
    root = _installed_root() if path is None else Path(path).expanduser()
    if not (root / "data").is_dir():
        raise InputError(
            f"`{root}` is not an AIConfigurator database: it has no folder `data`",
            hint=f"name the folder `systems` of {DISTRIBUTION}, or {INSTALL}",
        )
    return root


def _installed_root() -> Path:
    try:
        found = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"the AIConfigurator database ({DISTRIBUTION} {VERSION}) is not installed", hint=INSTALL
        ) from error
    if found.version != VERSION:
        raise InputError(
            f"{DISTRIBUTION} {found.version} is installed, and the layout known is that of "
            f"{VERSION}",
            hint=INSTALL,
        )
    return Path(str(found.locate_file("aiconfigurator_core/systems")))


def systems(root: str | Path | None = None) -> tuple[str, ...]:
    """Catalogue names of the devices that the database has measurements of, sorted."""
    data = systems_root(root) / "data"
    measured = (folder.name for folder in data.iterdir() if any(folder.glob("*/*/*/*.parquet")))
    return tuple(sorted(_DEVICES.get(name, name) for name in measured))


def table_files(device: str, root: Path) -> list[TableFile]:
    """Every table of the device, in order; InputError for a device that has none."""
    folder = root / "data" / _folder_name(device)
    paths = sorted(folder.glob("*/*/*/*.parquet"))
    if not paths:
        known = systems(root)
        raise unknown(
            "measured GPU", device, known, command="costs measured elsewhere come in as a CSV"
        )
    return [TableFile(path, *path.parts[-4:-1]) for path in paths]


def settings_files(device: str, root: Path) -> tuple[Path, Path]:
    """The file of current versions, and that of the device's system."""
    return root / "query_versions.yaml", root / f"{_folder_name(device)}.yaml"


def current_versions(device: str, root: Path) -> dict[str, str]:
    """The version of each engine that the database holds complete for this device."""
    document = _read(settings_files(device, root)[0])
    overrides = document.get("overrides", {}).get(_folder_name(device), {})
    slots = document.get("defaults", {}) | overrides
    return {source: str(slot["current"]) for source, slot in slots.items()}


def gpus_per_node(device: str, root: Path) -> int:
    """GPUs of one node of this system."""
    return int(_read(settings_files(device, root)[1])["node"]["num_gpus_per_node"])


def _folder_name(device: str) -> str:
    name = accelerator(device).name
    return _FOLDERS.get(name, name)


def _read(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(
            f"`{path}` cannot be read: {error}", hint=f"install the package again: {INSTALL}"
        ) from error
