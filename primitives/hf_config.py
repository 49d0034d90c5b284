"""A model from a local Hugging Face `config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from servecast.errors import InputError, UnsupportedError, nearest
from servecast.primitives.hf_families import DEFAULTS, FAMILIES, Family
from servecast.primitives.hf_layers import read_layers
from servecast.primitives.hf_quantization import Section, read_weights_dtype
from servecast.primitives.hf_schema import HfConfig, KeyProblem
from servecast.primitives.model import ModelSpec

_HINT = "correct the file, or take a model that `servecast models` lists"
_RULES = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "greater_than": "must be above 0",
    "greater_than_equal": "must not be below 0",
    "less_than_equal": "is too large",
}


def read_config(path: Path | str) -> ModelSpec:
    """The model that a `config.json`, or the folder that holds one, describes.

    Vision and audio encoders are left out. Raises InputError naming the file, the keys and the
    rules they break, and UnsupportedError for an architecture that is not modelled.
    """
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    top = _parse(file)
    try:
        return _spec(top, file)
    except KeyProblem as problem:
        raise _refused(file, [f"{problem.key}: {problem.rule}"]) from problem
    except ValidationError as error:
        raise _refused(file, _problems(error)) from error


def _parse(file: Path) -> Section:
    try:
        document: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"`{file}` cannot be read: {error.strerror}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{file}` is not JSON: {error}", hint=_HINT) from error
    if not isinstance(document, dict):
        raise InputError(f"`{file}` must hold a JSON object", hint=_HINT)
    return cast("Section", document)


def _spec(top: Section, file: Path) -> ModelSpec:
    architecture, family = _architecture(top, file)
    keys = DEFAULTS.get(family, {}) | _quantization_beside(file) | _text_part(top)
    config = HfConfig.model_validate(keys)
    return ModelSpec(
        name=file.parent.resolve().name if file.name == "config.json" else file.stem,
        architecture=architecture,
        hidden=config.hidden_size,
        vocab=config.vocab_size,
        tie_embeddings=config.tie_word_embeddings,
        max_model_len=config.max_position_embeddings,
        weights_dtype=read_weights_dtype(keys),
        layers=read_layers(config, family),
        source=str(file),
        mtp_layers=config.mtp_layers,
    )


def _architecture(top: Section, file: Path) -> tuple[str, Family]:
    stated = top.get("architectures")
    if not isinstance(stated, list) or not stated:
        raise KeyProblem("architectures", "must name the architecture")
    name = str(cast("list[object]", stated)[0])
    if name in FAMILIES:
        return name, FAMILIES[name]
    near = nearest(name, FAMILIES)
    raise UnsupportedError(
        f"`{file}`: architectures: `{name}` is not supported",
        hint=(f"the nearest that is: `{near}`; " if near else "")
        + "`servecast models` lists the models that are known by name",
    )


def _text_part(top: Section) -> Section:
    """The keys of the language model: a multimodal file nests them, null means absent."""
    given = _given(top)
    nested = given.get("text_config", {})
    if not isinstance(nested, dict):
        raise KeyProblem("text_config", "must be an object")
    return given | _given(cast("Section", nested))


def _quantization_beside(file: Path) -> Section:
    """What older ModelOpt checkpoints say of their quantization, in a file of its own."""
    beside = file.with_name("hf_quant_config.json")
    if not beside.exists():
        return {}
    return {"quantization_config": _parse(beside).get("quantization")}


def _given(section: Section) -> Section:
    return {key: value for key, value in section.items() if value is not None}


def _problems(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        rule = _RULES.get(problem["type"], problem["msg"].lower())
        got = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.40})"
        lines.append(f"{key}: {rule}{got}")
    return lines


def _refused(file: Path, lines: list[str]) -> InputError:
    listed = "".join(f"\n  {line}" for line in lines)
    return InputError(f"`{file}` does not describe a model{listed}", hint=_HINT)
