"""What TensorRT-LLM's scripts for DeepSeek-R1 make of a row: graphs, batch wait, drafts.

Read in InferenceX's `dsr1_*_b200_trt.sh`, `dsr1_*_trt_mtp.sh` and `perf-changelog.yaml` [S]: pull
requests 594 and 620 bring piecewise CUDA graphs and batch wait with the image 1.2.0rc6.post2, 392
brings multi-token prediction, which 642 moves on to 1.2.0rc6.post3 alone.
"""

from __future__ import annotations

from servecast.profiler.silicon_points import SiliconPoint
from servecast.simulator.trtllm_scheduler import BatchWait

DRAFTING_IMAGE = "1.2.0rc6.post3"
FIRST_DRAFTING = ("1.1.0rc2.post2", "2026-01")
"""The image that came before, and the month: it served without drafts until the year before."""
CAPTURING = "1.2.0rc6"
"""From this image on, scripts capture prompts in piecewise CUDA graphs."""
MANY = 256
"""From so many clients on they do not."""
CAPTURED_FROM = {(1024, 1024): 64, (1024, 8192): 128, (8192, 1024): 64}
"""The fewest clients with which fp8 prompts are captured, by prompt and output."""


def drafts(point: SiliconPoint) -> int:
    """Tokens drafted a step: three, one with attention data parallelism, else none."""
    image, month = FIRST_DRAFTING
    is_first = point.engine_version == image and (point.date or "").startswith(month)
    if not is_first and point.engine_version != DRAFTING_IMAGE:
        return 0
    return 1 if point.attention_dp_size > 1 else 3


def captures_prompts(point: SiliconPoint) -> bool:
    """Whether steps with prompts are replayed from piecewise CUDA graphs."""
    is_b200 = point.gpu.upper().startswith("B200")
    if not is_b200 or not (point.engine_version or "").startswith(CAPTURING):
        return False
    clients = point.clients or 1
    if point.precision == "fp8":
        fewest = CAPTURED_FROM.get((point.isl, point.osl), MANY)
        return fewest <= clients < MANY
    is_wide = point.tp_size == 8 and point.moe_ep_size == 8
    return is_wide and (point.isl, point.osl) == (1024, 1024)


def batch_wait(point: SiliconPoint) -> BatchWait | None:
    """Prompts held back: fp8, 1k/1k, where they are captured."""
    is_short = (point.isl, point.osl) == (1024, 1024)
    is_waiting = point.precision == "fp8" and is_short and captures_prompts(point)
    return BatchWait(0.8, 40) if is_waiting and not drafts(point) else None
