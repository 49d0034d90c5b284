"""A user's own start command, understood: the limits it sets and what no simulation models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from servecast.errors import InputError, UnsupportedError, nearest
from servecast.primitives.deployment import SchedulingPolicy
from servecast.primitives.dtype import Dtype
from servecast.search.command_line import CommandLine, GivenOption, read_command_line
from servecast.search.engine_defaults import EngineDefaults
from servecast.search.stated_drafts import NAMES, StatedDrafts, stated_drafts
from servecast.search.vllm_formats import KV_CACHE_DTYPES, MODEL_DTYPES, QUANTIZATIONS
from servecast.search.vllm_options import HARMLESS_VARIABLES

_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_AS_SIMULATED = {
    "--async-scheduling": "off",
    "--data-parallel-size": "1",
    "--enable-chunked-prefill": "on",
    "--pipeline-parallel-size": "1",
}
"""Options that a simulation agrees with at one value alone."""
_POLICIES: Mapping[str, SchedulingPolicy] = {"fcfs": "fcfs", "priority": "priority"}
_FREE = frozenset(
    (
        "--block-size",
        "--device-ids",
        "--dtype",
        "--enable-expert-parallel",
        "--enable-prefix-caching",
        "--gpu-memory-utilization",
        "--long-prefill-token-threshold",
        "--long-prefill-token-threshold-adaptive",
        "--kv-offloading-size",
        "--max-num-batched-tokens",
        "--max-num-seqs",
        "--model",
        "--num-gpu-blocks-override",
        "--scheduling-policy",
        "--tensor-parallel-size",
    )
)
"""Options that a simulation follows at any value."""


@dataclass(frozen=True, slots=True)
class ServeCommand:
    """What a start command says. None is what it leaves to the engine's default."""

    model: str
    max_model_len: int | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    tensor_parallel_size: int | None
    pipeline_parallel_size: int | None
    data_parallel_size: int | None
    enable_expert_parallel: bool | None
    gpu_memory_utilization: float | None
    block_size: int | None
    num_gpu_blocks_override: int | None
    weights_dtype: Dtype | None
    """From `--quantization`, else `--dtype`; None is the checkpoint's own."""
    kv_cache_dtype: Dtype | None
    enable_prefix_caching: bool | None
    enable_chunked_prefill: bool | None
    async_scheduling: bool | None
    scheduling_policy: SchedulingPolicy | None
    long_prefill_token_threshold: int
    """0 is no such limit."""
    long_prefill_token_threshold_adaptive: bool
    kv_offloading_size: float | None
    """In GiB."""
    drafts: StatedDrafts | None
    visible_gpus: int | None
    """How many GPUs CUDA_VISIBLE_DEVICES or `--device-ids` leaves to the engine."""
    image_tag: str | None
    unmodelled: tuple[str, ...]
    """Options and variables set that can change schedule or step time and are not modelled."""

    def not_simulated(self, defaults: EngineDefaults) -> tuple[str, ...]:
        """What the real engine would do here and a simulation does not, its defaults included."""
        by_default = (
            ("--enable-prefix-caching", self.enable_prefix_caching, defaults.enable_prefix_caching),
            ("--async-scheduling", self.async_scheduling, defaults.async_scheduling),
        )
        return self.unmodelled + tuple(
            f"{name} (the default of vLLM {defaults.release})"
            for name, given, default in by_default
            if given is None and default
        )


def parse(command: str) -> ServeCommand:
    """The limits that a start command sets.

    Reads `vllm serve …`, `python -m vllm.entrypoints.openai.api_server …` and
    `docker run … vllm/vllm-openai …`, with variables before it. InputError for an unknown option
    or a value vLLM would refuse; UnsupportedError where options hide in a `--config` file.
    """
    line = read_command_line(command)
    if "--config" in line.options:
        raise UnsupportedError(
            f"option `--config {line.options['--config'].value}` hides options in a file",
            hint="write the file's options into the command",
        )
    adapts = _switch(line, "--long-prefill-token-threshold-adaptive")
    return ServeCommand(
        model=_model(line),
        max_model_len=_model_len(line),
        max_num_seqs=_integer(line, "--max-num-seqs"),
        max_num_batched_tokens=_integer(line, "--max-num-batched-tokens", scaled=True),
        tensor_parallel_size=_integer(line, "--tensor-parallel-size"),
        pipeline_parallel_size=_integer(line, "--pipeline-parallel-size"),
        data_parallel_size=_integer(line, "--data-parallel-size"),
        enable_expert_parallel=_switch(line, "--enable-expert-parallel"),
        gpu_memory_utilization=_fraction(line, "--gpu-memory-utilization"),
        block_size=_integer(line, "--block-size"),
        num_gpu_blocks_override=_integer(line, "--num-gpu-blocks-override"),
        weights_dtype=_weights_dtype(line),
        kv_cache_dtype=KV_CACHE_DTYPES.get(_text(line, "--kv-cache-dtype")),
        enable_prefix_caching=_switch(line, "--enable-prefix-caching"),
        enable_chunked_prefill=_switch(line, "--enable-chunked-prefill"),
        async_scheduling=_switch(line, "--async-scheduling"),
        scheduling_policy=_scheduling_policy(line),
        long_prefill_token_threshold=_long_prefill_token_threshold(line),
        long_prefill_token_threshold_adaptive=bool(adapts),
        kv_offloading_size=_gib(line, "--kv-offloading-size"),
        drafts=stated_drafts(line),
        visible_gpus=_visible_gpus(line),
        image_tag=line.image_tag,
        unmodelled=_unmodelled(line),
    )


def _model(line: CommandLine) -> str:
    model = _text(line, "--model") or line.model
    if model is None:
        raise InputError(
            "the command names no model",
            hint="write it after `vllm serve`: `vllm serve MODEL …`",
        )
    return model


def _text(line: CommandLine, name: str) -> str:
    return line.options[name].value if name in line.options else ""


def _switch(line: CommandLine, name: str) -> bool | None:
    return line.options[name].is_on if name in line.options else None


def _integer(line: CommandLine, name: str, *, scaled: bool = False) -> int | None:
    """A whole number of at least 1; where vLLM takes units, `8k` is 8,000 and `8K` 8,192."""
    if name not in line.options:
        return None
    text = _text(line, name).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT])", text) if scaled else None
    if match and match[2] in _UNITS:
        number = int(float(match[1]) * _UNITS[match[2]])
    elif match and "." not in match[1]:
        number = int(match[1]) * _BINARY_UNITS[match[2]]
    else:
        number = int(text) if re.fullmatch(r"\d+", text) else 0
    if number < 1:
        units = ", with a unit if any (8k = 8000, 8K = 8192)" if scaled else ""
        raise InputError(
            f"option `{name}` is `{text}`; it must be a whole number of at least 1{units}",
            hint=f"write for example `{name} 8`",
        )
    return number


def _long_prefill_token_threshold(line: CommandLine) -> int:
    """The threshold, or 0 where the command sets none."""
    name = "--long-prefill-token-threshold"
    return 0 if _text(line, name).strip() == "0" else _integer(line, name) or 0


def _scheduling_policy(line: CommandLine) -> SchedulingPolicy | None:
    stated = _text(line, "--scheduling-policy")
    if stated and stated not in _POLICIES:
        raise InputError(
            f"option `--scheduling-policy` is `{stated}`\n  known: {', '.join(_POLICIES)}",
            hint="write for example `--scheduling-policy priority`",
        )
    return _POLICIES.get(stated)


def _model_len(line: CommandLine) -> int | None:
    """The longest sequence; None too where the engine is asked to fit it to its memory."""
    is_fitted = _text(line, "--max-model-len").strip().lower() in ("auto", "-1")
    return None if is_fitted else _integer(line, "--max-model-len", scaled=True)


def _fraction(line: CommandLine, name: str) -> float | None:
    if name not in line.options:
        return None
    text = _text(line, name).strip()
    number = float(text) if re.fullmatch(r"\d*\.?\d+|\d+\.", text) else 0.0
    if not 0 < number <= 1:
        raise InputError(
            f"option `{name}` is `{text}`; it must be above 0 and at most 1",
            hint=f"write for example `{name} 0.9`",
        )
    return number


def _gib(line: CommandLine, name: str) -> float | None:
    if name not in line.options:
        return None
    text = _text(line, name).strip()
    number = float(text) if re.fullmatch(r"\d*\.?\d+|\d+\.", text) else 0.0
    if not number:
        raise InputError(
            f"option `{name}` is `{text}`; it must be a number of GiB above 0",
            hint=f"write for example `{name} 100`",
        )
    return number


def _weights_dtype(line: CommandLine) -> Dtype | None:
    name = _text(line, "--dtype")
    if name and name != "auto" and name not in MODEL_DTYPES:
        near = nearest(name, MODEL_DTYPES) or "bfloat16"
        raise InputError(
            f"option `--dtype` is `{name}`\n  known: auto, {', '.join(MODEL_DTYPES)}",
            hint=f"did you mean `{near}`?",
        )
    return QUANTIZATIONS.get(_text(line, "--quantization")) or MODEL_DTYPES.get(name)


def _visible_gpus(line: CommandLine) -> int | None:
    listed = _text(line, "--device-ids") or line.environment.get("CUDA_VISIBLE_DEVICES", "")
    return len([gpu for gpu in listed.split(",") if gpu.strip()]) or None


def _unmodelled(line: CommandLine) -> tuple[str, ...]:
    variables = tuple(
        f"{name}={value}"
        for name, value in line.environment.items()
        if name.startswith("VLLM_") and name not in HARMLESS_VARIABLES
    )
    return variables + tuple(
        given.text for given in line.options.values() if not _is_followed(given)
    )


def _is_followed(given: GivenOption) -> bool:
    """Whether a simulation does what this option says, or need not."""
    name = given.option.name
    if given.option.harmless:
        return True
    if name == "--max-model-len":
        return given.value.strip().lower() not in ("auto", "-1")
    if name in _FREE or name in NAMES:
        return True
    if name == "--kv-cache-dtype":
        return given.value in ("auto", *KV_CACHE_DTYPES)
    if name == "--quantization":
        return given.value in ("compressed-tensors", *QUANTIZATIONS)
    if given.option.arity == "flag":
        expected = _AS_SIMULATED.get(name, "on" if given.option.is_on_by_default else "off")
        return given.is_on == (expected == "on")
    return given.value == _AS_SIMULATED.get(name)
