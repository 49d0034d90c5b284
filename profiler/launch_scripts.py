"""Launch scripts of the public silicon sample's InferenceX rows: one entry a script.

`[S]` marks what was read in them (SemiAnalysisAI/InferenceX, 2025-10 to 2026-04), `[R]` what is
recalled of an engine's defaults, `[F]` what was fitted on the sample's development part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.primitives.coefficients import shipped
from servecast.primitives.dtype import Dtype
from servecast.primitives.host_time import HostTime
from servecast.primitives.model import ModelSpec
from servecast.profiler.launch import Launch
from servecast.profiler.silicon_points import SiliconPoint

EAGER_LAYER_S = 0.8e-3
"""Launching one layer's kernels outside CUDA graphs, set by hand on Llama-70B/B200/vLLM [F]."""

_EXPOSED = shipped("roofline")
SYNCHRONOUS = HostTime()
ASYNCHRONOUS = HostTime.asynchronous()
SGLANG = replace(ASYNCHRONOUS, step_s=_EXPOSED.sglang_step_s)
TRTLLM = HostTime.trtllm()
"""Exposed parts as fitted (`primitives/coefficients.py`); the overlapped ones are vLLM's without
asynchronous scheduling, or a guess below them."""


@dataclass(frozen=True, slots=True)
class Script:
    """One launch script, or several that agree: the rows it started and its flags."""

    engine: str
    model: str
    """A part of the catalogue's name."""
    launch: Launch
    gpus: tuple[str, ...] = ("h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300")
    precision: str | None = None
    tensor: int | None = None

    def starts(self, point: SiliconPoint, model: ModelSpec, gpu: str) -> bool:
        """Whether a row is one of this script's."""
        is_kind = self.engine == point.engine and self.model in model.name and gpu in self.gpus
        is_precision = self.precision in (None, point.precision)
        return is_kind and is_precision and self.tensor in (None, point.tp_size)


_FP8 = Dtype.FP8
_BLACKWELL = ("b200_sxm", "b300_sxm", "gb200", "gb300")
_EAGER_70B = replace(ASYNCHRONOUS, eager_step_s=80 * EAGER_LAYER_S)

SCRIPTS = (
    Script(
        "vllm",
        "Llama-3.1-70B",
        Launch(8192, _EAGER_70B, "70b_*_b200 [S]", kv_cache_dtype=_FP8),
        _BLACKWELL,
    ),
    Script(
        "vllm",
        "Llama-3.1-70B",
        Launch(8192, ASYNCHRONOUS, "70b_fp8_h100, h200 [S]", kv_cache_dtype=_FP8),
    ),
    Script(
        "vllm",
        "gpt-oss",
        Launch(
            8192,
            ASYNCHRONOUS,
            "gptoss_fp4_b200 [S]",
            max_num_seqs=512,
            kv_cache_dtype=_FP8,
            experts_kernel="mxfp8",
        ),
        _BLACKWELL,
    ),
    Script(
        "vllm",
        "gpt-oss",
        Launch(8192, ASYNCHRONOUS, "gptoss_fp4_h100, h200 [S]", experts_kernel="marlin"),
    ),
    Script(
        "vllm",
        "Kimi",
        Launch(8192, ASYNCHRONOUS, "kimik2.5_fp4 [S], budget, KV [R]", kv_cache_dtype=_FP8),
        precision="fp4",
    ),
    Script("vllm", "Kimi", Launch(8192, ASYNCHRONOUS, "kimik2.5_* [S], budget [R]")),
    Script(
        "vllm",
        "MiniMax",
        Launch(8192, ASYNCHRONOUS, "minimaxm2.5_fp8_b200 [S], budget [R]", memory_share=0.95),
        _BLACKWELL,
    ),
    Script(
        "vllm",
        "MiniMax",
        Launch(8192, ASYNCHRONOUS, "minimaxm2.5_fp8_h100 [S], budget [R]", max_num_seqs=256),
    ),
    Script(
        "sglang",
        "DeepSeek",
        Launch(
            16384,
            SGLANG,
            "dsr1_fp4_b200 [S]",
            max_num_seqs=256,
            kv_cache_dtype=_FP8,
            memory_share=0.85,
            recv_intervals=(10, 30),
        ),
        _BLACKWELL,
        "fp4",
    ),
    Script(
        "sglang",
        "DeepSeek",
        Launch(
            8192,
            SGLANG,
            "dsr1_fp8_b200, tp 4 [S]",
            max_num_seqs=32,
            kv_cache_dtype=_FP8,
            memory_share=0.95,
            recv_intervals=(10, 10),
        ),
        _BLACKWELL,
        "fp8",
        4,
    ),
    Script(
        "sglang",
        "DeepSeek",
        Launch(
            32768,
            SGLANG,
            "dsr1_fp8_b200 [S]",
            max_num_seqs=128,
            kv_cache_dtype=_FP8,
            memory_share=0.82,
            recv_intervals=(10, 30),
        ),
        _BLACKWELL,
        "fp8",
    ),
    Script(
        "sglang",
        "DeepSeek",
        Launch(
            32768,
            SGLANG,
            "dsr1_fp8_h200 [S]",
            max_num_seqs=256,
            memory_share=0.82,
        ),
        ("h200_sxm",),
    ),
    Script(
        "sglang",
        "Qwen3.5",
        Launch(
            16384,
            SGLANG,
            "qwen3.5_fp8_h200 [S]",
            max_num_seqs=128,
            kv_cache_dtype=_FP8,
            memory_share=0.8,
        ),
        ("h200_sxm",),
    ),
    Script(
        "sglang",
        "Qwen3.5",
        Launch(
            32768,
            SGLANG,
            "qwen3.5_bf16_b200 [S]",
            max_num_seqs=128,
            memory_share=0.82,
            recv_intervals=(10, 30),
        ),
        _BLACKWELL,
        "bf16",
    ),
    Script(
        "sglang",
        "Qwen3.5",
        Launch(
            32768,
            SGLANG,
            "qwen3.5_fp8_b200, fp4_b200 [S]",
            kv_cache_dtype=_FP8,
            memory_share=0.82,
            recv_intervals=(10, 30),
        ),
        _BLACKWELL,
    ),
    Script(
        "sglang",
        "GLM-5",
        Launch(
            32768,
            SGLANG,
            "glm5_fp8_b200 [S]",
            kv_cache_dtype=_FP8,
            memory_share=0.85,
        ),
        _BLACKWELL,
    ),
    Script(
        "sglang",
        "GLM-5",
        Launch(
            8192,
            SGLANG,
            "glm5_fp8_h200 [S], chunks [R]",
            memory_share=0.85,
            prompts_per_client=5,
        ),
        ("h200_sxm",),
    ),
    Script("trtllm", "Llama-3.1-70B", Launch(16384, TRTLLM, "70b_*_trt [S]", kv_cache_dtype=_FP8)),
    Script(
        "trtllm",
        "gpt-oss",
        Launch(
            20000,
            TRTLLM,
            "gptoss_fp4_b200_trt [S]",
            max_num_seqs=512,
            kv_cache_dtype=_FP8,
            memory_share=0.85,
            experts_kernel="mxfp8",
        ),
        _BLACKWELL,
    ),
    Script(
        "trtllm", "gpt-oss", Launch(20000, TRTLLM, "gptoss_fp4_h200_trt [S]", memory_share=0.85)
    ),
    Script(
        "trtllm",
        "DeepSeek",
        Launch(8192, TRTLLM, "dsr1_fp8_h200_trt [S]", kv_cache_dtype=_FP8, memory_share=0.75),
        ("h200_sxm",),
    ),
    Script(
        "trtllm",
        "DeepSeek",
        Launch(
            8192, TRTLLM, "dsr1_*_trt [S]", max_num_seqs=512, kv_cache_dtype=_FP8, memory_share=0.8
        ),
    ),
)
