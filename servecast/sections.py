"""The sections of a scenario that say what runs: the hardware and the engine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Tag,
    ValidationInfo,
    model_validator,
)

from servecast.choices import Open
from servecast.faults import fault, shown, validating
from servecast.fields import Count, Section, Usd


def _known_gpu(name: str) -> str:
    from servecast.primitives.catalogue import accelerator

    return accelerator(name).name


def _known_release(version: str, info: ValidationInfo) -> str:
    from servecast.search.engine_defaults import engine_release
    from servecast.search.trtllm_defaults import release_of
    from servecast.timewarp.installation import INSTALLATIONS

    def known(stated: str) -> str:
        engine = info.data.get("name", "vllm")
        if engine in ("vllm", "reference"):
            engine_release("vllm", stated)
        elif engine == "trtllm":
            release_of(stated)
        else:
            INSTALLATIONS[engine].release_of(stated)
        return stated

    return validating(known)(version)


def _version_text(value: object) -> object:
    if isinstance(value, (int, float)):
        raise fault(
            f"the version {value} is a number, which loses trailing zeros",
            'write it in quotes, as in "0.32"',
        )
    return value


def _price_form(value: object) -> str:
    return "<each>" if isinstance(value, dict) else "<one>"


Gpu = Annotated[str, AfterValidator(validating(_known_gpu))]
Price = Annotated[
    Annotated[Usd, Tag("<one>")] | Annotated[dict[Gpu, Usd], Tag("<each>")],
    Discriminator(_price_form),
]
Version = Annotated[str, BeforeValidator(_version_text), AfterValidator(_known_release)]


class Hardware(Section):
    """The accelerators that may be used and what one costs; `gpus` is the budget, not a target."""

    gpu: Open[Gpu]
    gpus: Count
    usd_per_gpu_hour: Price | None = None
    """One price, or one for each accelerator of a list; absent: the catalogue's public price."""

    @model_validator(mode="after")
    def _a_price_for_each(self) -> Self:
        stated = self.usd_per_gpu_hour
        if isinstance(stated, float) and len(self.gpu) > 1:
            each = ", ".join(f"{gpu}: {stated:g}" for gpu in self.gpu)
            hint = f"write usd_per_gpu_hour: {{{each}}}"
            raise fault("states one usd_per_gpu_hour for several kinds of GPU", hint)
        for gpu in stated if isinstance(stated, dict) else ():
            if gpu not in self.gpu:
                raise fault(f"states a usd_per_gpu_hour for {shown(gpu)}, which is not in `gpu`")
        return self


class Engine(Section):
    """The serving engine that runs the model.

    `reference` is a scheduler of the literature on the memory and host time of vLLM's `version`.
    """

    name: Literal["vllm", "sglang", "transformers", "trtllm", "reference"] = "vllm"
    version: Open[Version]
