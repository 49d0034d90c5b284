"""How a row's server was started: its launch script's flags, else its engine's defaults.

The first script that fits a row counts. Marks as in `launch_scripts`: `[S]` read, `[R]` recalled,
`[F]` fitted.
"""

from __future__ import annotations

from dataclasses import replace

from servecast.primitives.memory_priors import has_experts
from servecast.primitives.model import ModelSpec
from servecast.profiler import trtllm_deepseek
from servecast.profiler.drafting_cost import expected_yield
from servecast.profiler.eager_steps import eager_step_s
from servecast.profiler.launch import Launch
from servecast.profiler.launch_scripts import ASYNCHRONOUS, SCRIPTS, SGLANG, SYNCHRONOUS, TRTLLM
from servecast.profiler.silicon_points import SiliconPoint
from servecast.simulator.trtllm_scheduler import BatchWait

RANK_WAIT = 30
"""Steps that a prompt waits for prompts of TensorRT-LLM's other attention ranks, on average: half
of `timeout_iters` 60, which runs from the first prompt of any rank [S]."""

ASYNCHRONOUS_SINCE = (0, 14)
"""vLLM schedules ahead without being told [R]."""

MARLIN_SINCE, MARLIN_MONTH = (0, 13), "2025-12"
"""InferenceX's gpt-oss scripts set VLLM_MXFP4_USE_MARLIN on Hopper with this version (pull request
327) [S]."""

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
    launch = _flags(point, model, gpu)
    is_deepseek = point.engine == "trtllm" and "DeepSeek" in model.name
    is_compiled = is_deepseek and trtllm_deepseek.captures_prompts(point)
    if is_deepseek and not point.is_own_sweep:
        wait, drafts = trtllm_deepseek.batch_wait(point), trtllm_deepseek.drafts(point)
        launch = replace(launch, batch_wait=wait, draft_tokens=drafts)
    eager_s = eager_step_s(
        model, point.engine, gpu, is_compiled=is_compiled, drafts=launch.draft_tokens
    )
    host = replace(launch.host, eager_step_s=max(eager_s, launch.host.eager_step_s))
    launch = replace(launch, host=host)
    if point.engine == "trtllm" and point.attention_dp_size > 1:
        return replace(launch, batch_wait=_rank_wait(launch.draft_tokens))
    return launch


def _rank_wait(draft_tokens: int) -> BatchWait:
    """TensorRT-LLM's attention ranks wait for each other, to compute their prompts together.

    Where two prompts wait at one rank, the others have some too.
    """
    steps = round(RANK_WAIT * expected_yield(draft_tokens))
    return BatchWait(1.0, steps, enough_requests=2)


def _flags(point: SiliconPoint, model: ModelSpec, gpu: str) -> Launch:
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
    if launch.experts_kernel == "marlin" and not _is_since_marlin(point):
        launch = replace(launch, experts_kernel="")
    is_told = "[R]" not in launch.source
    if point.engine != "vllm" or is_told or _release(point.engine_version) >= ASYNCHRONOUS_SINCE:
        return launch
    return replace(launch, host=SYNCHRONOUS, schedules_ahead=False)


def _is_since_marlin(point: SiliconPoint) -> bool:
    """Whether the script already asks for Marlin: by version, or by date where that is blank."""
    if point.engine_version:
        return _release(point.engine_version) >= MARLIN_SINCE
    return (point.date or MARLIN_MONTH) >= MARLIN_MONTH


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
