"""Which engine a scenario names, and the form that its options have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from pydantic import ValidationInfo

from servecast.options import VllmOptions
from servecast.plain import mapping
from servecast.reference_options import ReferenceOptions
from servecast.sections import Engine
from servecast.sglang_options import SglangOptions
from servecast.transformers_options import TransformersOptions
from servecast.trtllm_options import TrtllmOptions

AnyForm = VllmOptions | SglangOptions | TransformersOptions | TrtllmOptions | ReferenceOptions
FORMS: Mapping[str, type[AnyForm]] = MappingProxyType(
    {
        "vllm": VllmOptions,
        "sglang": SglangOptions,
        "transformers": TransformersOptions,
        "trtllm": TrtllmOptions,
        "reference": ReferenceOptions,
    }
)
"""By the engine's name."""


def engine_stated(values: Mapping[str, object]) -> str:
    """The engine that a scenario's text names: vLLM where it names none that is known."""
    name = (mapping(values.get("engine")) or {}).get("name")
    return name if isinstance(name, str) and name in FORMS else "vllm"


def options_read(value: object, info: ValidationInfo) -> AnyForm:
    """A `deployment` section in the form of its engine: the one read before it.

    Where that section is at fault, `engine` of the context says which was meant.
    """
    engine, context = info.data.get("engine"), mapping(cast("object", info.context)) or {}
    name = engine.name if isinstance(engine, Engine) else "vllm"
    return FORMS[str(context.get("engine", name))].model_validate(value)


def options_absent(read: Mapping[str, object]) -> AnyForm:
    """What a scenario without a `deployment` section deploys."""
    engine = read.get("engine")
    return FORMS[engine.name]() if isinstance(engine, Engine) else VllmOptions()
