"""The sections of a scenario that say what is deployed: hardware, engine, deployment options."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from servecast.choices import Open
from servecast.faults import fault, shown, validating
from servecast.primitives.deployment import Routing
from servecast.primitives.dtype import Dtype
from servecast.refusals import CHECKPOINT_METHODS

Count = Annotated[int, Field(strict=True, ge=1)]
Flag = Annotated[bool, Field(strict=True)]
Usd = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of a scenario; a field that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _known_gpu(name: str) -> str:
    from servecast.primitives.catalogue import accelerator

    return accelerator(name).name


def _known_release(version: str) -> str:
    from servecast.search.engine_defaults import engine_release

    engine_release("vllm", version)
    return version


def _version_text(value: object) -> object:
    if isinstance(value, (int, float)):
        raise fault(
            f"the version {value} is a number, which loses trailing zeros",
            'write it in quotes, as in "0.32"',
        )
    return value


def _weights_format(value: object) -> object:
    if isinstance(value, str) and value in CHECKPOINT_METHODS:
        raise fault(
            f"{shown(value)} needs a checkpoint made for it",
            "give that checkpoint's config.json as `model` and leave `quantization` out",
        )
    return value


def _price_form(value: object) -> str:
    return "<each>" if isinstance(value, dict) else "<one>"


def _replicas_form(value: object) -> str:
    return "<auto>" if value == "auto" else "<values>"


def _auto_or_numbers(value: object) -> object:
    if isinstance(value, str) and value != "auto":
        raise fault(f"{shown(value)} is neither `auto` nor a number")
    return value


Gpu = Annotated[str, AfterValidator(validating(_known_gpu))]
Price = Annotated[
    Annotated[Usd, Tag("<one>")] | Annotated[dict[Gpu, Usd], Tag("<each>")],
    Discriminator(_price_form),
]
Replicas = Annotated[
    Annotated[Literal["auto"], Tag("<auto>")] | Annotated[Open[Count], Tag("<values>")],
    Discriminator(_replicas_form),
    BeforeValidator(_auto_or_numbers),
]
Version = Annotated[str, BeforeValidator(_version_text), AfterValidator(validating(_known_release))]
Weights = Annotated[Dtype, BeforeValidator(_weights_format)]


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
    """The serving engine whose scheduler is simulated."""

    name: Literal["vllm"] = "vllm"
    version: Open[Version]


class Options(Section):
    """The engine's options by their own names, and how replicas are fed; absent: its defaults."""

    replicas: Replicas = (1,)
    """`auto`: as many as fit, or the fewest that meet the SLOs where cost is minimised."""
    tensor_parallel_size: Open[Count] = (1,)
    pipeline_parallel_size: Open[Count] = (1,)
    """Above 1: for `emulate` alone, the simulator refuses it."""
    data_parallel_size: Open[Literal[1]] = (1,)
    enable_expert_parallel: Open[Flag] = (False,)
    quantization: Open[Weights] | None = None
    """The weights' format; absent: the checkpoint's own."""
    kv_cache_dtype: Open[Literal["auto", "fp8"]] = ("auto",)
    max_model_len: Open[Count] | None = None
    """Absent: the longest that the model allows."""
    max_num_seqs: Open[Count] | None = None
    max_num_batched_tokens: Open[Count] | None = None
    block_size: Open[Count] | None = None
    gpu_memory_utilization: Open[Fraction] | None = None
    num_gpu_blocks_override: Open[Count] | None = None
    routing: Open[Routing] = ("round_robin",)
    enable_chunked_prefill: Open[Literal[True]] = (True,)
    enable_prefix_caching: Open[Flag] = (False,)
    async_scheduling: Open[Literal[False]] = (False,)
    scheduling_policy: Open[Literal["fcfs"]] = ("fcfs",)
    speculative_config: None = None
    enable_lora: Open[Literal[False]] = (False,)
    enforce_eager: Open[Literal[False]] = (False,)
