"""What an engine does when nothing is said: the defaults of its server, as facts with a version."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import InputError, UnsupportedError, nearest
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import EngineName

_GIB = 2**30
_RELEASES = {"0.32": "0.32.0"}
"""Series of vLLM that were read, and the release of each that stands for it."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The two limits that form a batch, as the engine resolves them at start-up."""

    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """The options of an API server that the user left unset, on one kind of accelerator.

    `enable_prefix_caching` and `async_scheduling` hold for generative decoders on the engine's own
    executors; `block_size` is what vLLM starts from, and some attention backends (MLA: 32 to 128)
    raise it where the user names none.
    """

    release: str
    """The engine's release, as its image is tagged."""
    max_num_seqs: int
    max_num_batched_tokens: int
    source: str
    gpu_memory_utilization: float = 0.92
    block_size: int = 16
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    async_scheduling: bool = True
    scheduling_policy: str = "fcfs"

    def limits(
        self,
        *,
        max_model_len: int,
        max_num_seqs: int | None = None,
        max_num_batched_tokens: int | None = None,
        enable_chunked_prefill: bool | None = None,
    ) -> BatchLimits:
        """The limits in force where the user set some (or none) of them.

        vLLM 0.32.0, `engine/arg_utils.py`: without chunked prefill the default budget is raised to
        `max_model_len`; it never exceeds what `max_num_seqs` full sequences hold; the default of
        `max_num_seqs` is cut to the budget. InputError where vLLM refuses to start: a budget below
        `max_num_seqs`, or below `max_model_len` without chunked prefill.
        """
        chunked = (
            self.enable_chunked_prefill
            if enable_chunked_prefill is None
            else (enable_chunked_prefill)
        )
        seqs = self.max_num_seqs if max_num_seqs is None else max_num_seqs
        tokens = max_num_batched_tokens
        if tokens is None:
            floor = self.max_num_batched_tokens
            tokens = min(floor if chunked else max(floor, max_model_len), seqs * max_model_len)
        if max_num_seqs is None:
            seqs = min(seqs, tokens)
        check_budget(seqs, tokens, None if chunked else max_model_len)
        return BatchLimits(seqs, tokens)


def defaults(engine: EngineName, version: str, accelerator: Accelerator) -> EngineDefaults:
    """The engine's defaults on this accelerator, as its HTTP server has them.

    vLLM 0.32.0, `EngineArgs.get_batch_defaults`: three classes of device by total memory, A100
    left in the lowest on purpose. Default utilisation 0.92 (`config/cache.py`).
    """
    release = engine_release(engine, version)
    if accelerator.vendor.lower() not in ("nvidia", "amd"):
        raise UnsupportedError(
            f"vLLM's defaults on `{accelerator.name}` ({accelerator.vendor}) are not known here\n"
            "  known: GPUs of NVIDIA and AMD",
            hint="set max_num_seqs and max_num_batched_tokens in the scenario",
        )
    seqs, tokens = _batch_defaults(accelerator)
    source = f"vLLM {release}, engine/arg_utils.py and config/cache.py"
    return EngineDefaults(release, seqs, tokens, source)


def engine_release(engine: EngineName, version: str) -> str:
    """The release (`0.32.0`) that stands for a version of the engine (`0.32`, `0.32.0`, `v0.32.0`).

    UnsupportedError for an engine or a version whose source was not read.
    """
    if engine != "vllm":
        raise UnsupportedError(
            f"the scheduler of engine `{engine}` is not simulated yet\n  known: vllm",
            hint="set engine: {name: vllm} in the scenario",
        )
    plain = version.removeprefix("v")
    for series, release in _RELEASES.items():
        if plain in (series, release):
            return release
    near = nearest(plain, _RELEASES) or max(_RELEASES)
    raise UnsupportedError(
        f"vLLM {version} was not checked against its source\n  known: {', '.join(_RELEASES)}",
        hint=f'the nearest version is {near}: set engine: {{version: "{near}"}} in the scenario',
    )


def check_budget(
    max_num_seqs: int, max_num_batched_tokens: int, longest_prompt: int | None = None
) -> None:
    """InputError where vLLM would refuse to start with these limits.

    `longest_prompt` is the model length, given where prompts are not chunked. The rules are those
    of vLLM 0.32.0, `config/scheduler.py`.
    """
    if max_num_batched_tokens < max_num_seqs:
        raise InputError(
            f"max_num_batched_tokens {max_num_batched_tokens} must not be below "
            f"max_num_seqs {max_num_seqs}",
            hint=f"set max_num_seqs to {max_num_batched_tokens} or less, "
            "or raise max_num_batched_tokens",
        )
    if longest_prompt is not None and max_num_batched_tokens < longest_prompt:
        raise InputError(
            f"max_num_batched_tokens {max_num_batched_tokens} must not be below "
            f"max_model_len {longest_prompt} without chunked prefill",
            hint="enable chunked prefill, or raise max_num_batched_tokens",
        )


def _batch_defaults(accelerator: Accelerator) -> tuple[int, int]:
    """(max_num_seqs, max_num_batched_tokens) by the device's total memory."""
    if accelerator.memory_bytes >= 160 * _GIB:
        return 1024, 16384
    if accelerator.memory_bytes >= 70 * _GIB and "a100" not in accelerator.name.lower():
        return 1024, 8192
    return 256, 2048
