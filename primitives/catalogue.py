"""Known accelerators and models by name; a model may also come from a local `config.json`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from servecast.errors import InputError, unknown
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue_data import accelerator_listing, model_listing
from servecast.primitives.model import ModelSpec


def accelerators() -> tuple[Accelerator, ...]:
    """Every accelerator of the catalogue, in the order of its file."""
    return accelerator_listing().items


def models() -> tuple[ModelSpec, ...]:
    """Every model of the catalogue, in the order of its file, without quantized checkpoints."""
    return model_listing().items


def accelerator(name: str) -> Accelerator:
    """The accelerator of that name or alias; case, `-`, `_` and spaces do not matter.

    Raises InputError for a name that the catalogue does not have.
    """
    found = _folded_accelerators().get(_folded(name))
    if found is None:
        known = [device.name for device in accelerators()]
        aliases = accelerator_listing().by_name
        raise unknown("GPU", name, known, command="`servecast gpus` lists them", aliases=aliases)
    return found


def model(name: str) -> ModelSpec:
    """The model of that name, alias or path (of a `config.json`, or of a folder that holds one).

    Raises InputError for a name that is neither, and for a file that cannot be read as a model.
    """
    found = _folded_models().get(_folded(name))
    if found is not None:
        return found
    path = Path(name).expanduser()
    if name and path.exists():
        # Imported late: pydantic would take most of the time that a look-up by name needs.
        from servecast.primitives.hf_config import read_config

        return read_config(path)
    if path.suffix == ".json" or name.startswith((".", "/", "~")):
        raise InputError(
            f"model file `{name}` does not exist",
            hint="give the path of a config.json, or a name that `servecast models` lists",
        )
    known = [spec.name for spec in models()]
    command = "`servecast models` lists them; for any other give the path of its config.json"
    full = list(model_listing().by_name)
    raise unknown("model", name, known, command=command, aliases=[*full, *map(_short, full)])


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _short(name: str) -> str:
    return name.rpartition("/")[2]


@cache
def _folded_accelerators() -> dict[str, Accelerator]:
    return {_folded(name): device for name, device in accelerator_listing().by_name.items()}


@cache
def _folded_models() -> dict[str, ModelSpec]:
    """Full names, and the part after the slash where it is no full name; the first one wins."""
    full = {_folded(name): spec for name, spec in model_listing().by_name.items()}
    short = {_short(name): spec for name, spec in reversed(full.items())}
    return short | full
