"""A model as a scenario names it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from servecast.faults import validating
from servecast.traffic import resolve_path


def known_model(name: str, info: ValidationInfo) -> str:
    """A repository's name as stated, a short name in full, or the absolute path of a config."""
    from servecast.primitives.catalogue import model

    path = resolve_path(name, info)
    if name.endswith(".json") or name.startswith((".", "/", "~")) or _holds_config(path):
        validating(model)(path)
        return path
    found = validating(model)(name)
    return name if "/" in name else found.name


def _holds_config(folder: str) -> bool:
    return (Path(folder) / "config.json").is_file()


ModelName = Annotated[str, AfterValidator(known_model)]
