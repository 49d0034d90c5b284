"""How a row's server was started: its launch script's flags, else its engine's defaults.

The first script that fits a row counts. Marks as in `launch_scripts`: `[S]` read, `[R]` recalled,
`[F]` fitted.
"""

from __future__ import annotations

from dataclasses import replace

from servecast.primitives.memory_priors import has_experts
from servecast.primitives.model import ModelSpec
from servecast.profiler.launch import Launch
from servecast.profiler.launch_scripts import ASYNCHRONOUS, SCRIPTS, SGLANG, SYNCHRONOUS, TRTLLM
from servecast.profiler.silicon_points import SiliconPoint
from servecast.simulator.trtllm_scheduler import BatchWait

ASYNCHRONOUS_SINCE = (0, 14)
"""vLLM schedules ahead without being told [R]."""

DEFAULTS = {
    "vllm": Launch(8192, ASYNCHRONOUS, "vLLM's defaults on these GPUs [R]"),
    "sglang": Launch(8192, SGLANG, "SGLang's defaults [R]", memory_share=0.88),
    "trtllm": Launch(8192, TRTLLM, "TensorRT-LLM's defaults [R]"),
}
OWN_SWEEP = {
    "vllm": Launch(2048, SYNCHRONOUS, "own sweep: budget 2048 [F]", schedules_ahead=False),
    "sglang": Launch(8192, SGLANG, "own sweep: SGLang's defaults [R]", memory_share=0.88),
    "trtllm": Launch(8192, TRTLLM, "own sweep: TensorRT-LLM's defaults [R]"),
}


def launch_of(point: SiliconPoint, model: ModelSpec, gpu: str) -> Launch:
    """How the row's server was started, as far as known; the rest are its engine's defaults."""
    if point.is_own_sweep:
        return _fitting_prompt(OWN_SWEEP[point.engine], point)
    for script in SCRIPTS:
        if script.starts(point, model, gpu):
            return _by_row(script.launch, point, model)
    return _fitting_prompt(_by_version(DEFAULTS[point.engine], point), point)


def _by_row(launch: Launch, point: SiliconPoint, model: ModelSpec) -> Launch:
    """Flags that scripts compute from the row: TensorRT-LLM's token budget and batch wait [S]."""
    if point.engine == "vllm":
        return _by_version(launch, point)
    if point.engine == "trtllm" and not has_experts(model):
        if (point.isl, point.osl) == (1024, 1024) and point.tp_size < 8:
            return replace(launch, batch_wait=BatchWait(0.9, 20))
        return launch
    return _fitting_prompt(launch, point)


def _by_version(launch: Launch, point: SiliconPoint) -> Launch:
    """Synchronous scheduling for old vLLM versions of models whose scripts do not ask for more."""
    is_told = "[R]" not in launch.source
    if point.engine != "vllm" or is_told or _release(point.engine_version) >= ASYNCHRONOUS_SINCE:
        return launch
    return replace(launch, host=SYNCHRONOUS, schedules_ahead=False)


def _fitting_prompt(launch: Launch, point: SiliconPoint) -> Launch:
    """TensorRT-LLM computes prompts in whole: room for one beside all decodes, in 64s [S]."""
    if point.engine != "trtllm":
        return launch
    needed = -(-((point.clients or 1) + point.isl + 64) // 64) * 64
    return replace(launch, max_num_batched_tokens=max(launch.max_num_batched_tokens, needed))


def _release(version: str | None) -> tuple[int, int]:
    """Major and minor; what names none is taken for a new one."""
    parts = (version or "").split(".")
    if len(parts) >= 2 and parts[0].isdecimal() and parts[1].isdecimal():
        return int(parts[0]), int(parts[1])
    return (1, 0)
