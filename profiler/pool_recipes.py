"""How disaggregated servers were started: what the recipes of the public sample's rows say.

`[S]` was read in InferenceX's `nvidia-master.yaml` (2026-02) and in the recipes that it names
(NVIDIA/srt-slurm and its forks), `[F]` was fitted on the sample's development part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.primitives.deployment import All2AllBackend
from servecast.profiler.eager_steps import COMPILED
from servecast.profiler.launch import Launch
from servecast.profiler.pool_labels import PoolLabels, Role
from servecast.profiler.silicon_points import SiliconPoint

HANDOVER_S = 0.1
"""From the end of a prompt to its first token beyond the KV cache's way: two servers behind one
front end, blocks reserved at the other, polls for their arrival [F]."""

EXCHANGE: All2AllBackend = "deepep_low_latency"
"""Decoding ranks send tokens only where their experts are: DeepEP, TensorRT-LLM's own [S]."""

WHOLE_PROMPTS = frozenset({"trtllm", "vllm"})
"""Engines whose recipes do not cut prompts into chunks [S]."""

LARGEST_TENSOR = 8
"""vLLM's recipes have attention data parallelism beyond it, whatever the label says [S]."""

_WIDE_PROMPT, _NARROW_PROMPT, _SHARED_PROMPT = 16384, 8192, 65536


@dataclass(frozen=True, slots=True)
class Sweep:
    """One recipe that several numbers of clients were run against: it has one `max_batch_size`."""

    model: str
    """A part of the row's name."""
    gpus: tuple[str, ...]
    """How the row's GPU begins."""
    lengths: tuple[int, int]
    decode_workers: int
    clients: tuple[int, ...]
    batch: int

    def has(self, point: SiliconPoint, workers: int) -> bool:
        """Whether a row is one of its runs."""
        is_kind = self.model in point.model and point.gpu.startswith(self.gpus)
        is_shape = (point.isl, point.osl) == self.lengths and workers == self.decode_workers
        return is_kind and is_shape and point.clients in self.clients


_GB = ("GB200", "GB300")
SWEEPS = (
    Sweep("DeepSeek", _GB, (1024, 1024), 4, (12, 24, 48, 96, 192), 32),
    Sweep("DeepSeek", ("GB200",), (8192, 1024), 4, (12, 44, 76), 16),
    Sweep("DeepSeek", ("GB300",), (8192, 1024), 5, (5, 15, 30), 4),
    Sweep("DeepSeek", ("B200",), (1024, 1024), 5, (10, 15, 25, 45, 90, 180), 32),
    Sweep("DeepSeek", ("B200",), (8192, 1024), 5, (10, 15, 25, 50, 100), 8),
    Sweep("Kimi", _GB, (1024, 1024), 4, (4, 192, 360, 668), 128),
    Sweep("Kimi", _GB, (1024, 1024), 5, (5, 15, 30, 55), 8),
    Sweep("Kimi", _GB, (8192, 1024), 5, (5, 15, 30, 60, 105), 16),
)
"""TensorRT-LLM's recipes without drafts [S]."""

FP4_SWEEPS = ("DeepSeek",)
"""Models whose sweeps are those of 4-bit checkpoints: each 8-bit recipe has one number of clients
[S]."""


def largest_batch(point: SiliconPoint, decode: PoolLabels, share: int) -> int | None:
    """`max_batch_size` of a decoding rank whose share of the clients is `share`; None: no limit.

    Recipes of TensorRT-LLM are run against more clients than their ranks take at once, so that
    some always wait: the batch is then the power of two, or from 192 on three times one, below the
    share (so in all but two of some forty). H200's have 256 and more whatever the load [S].
    """
    if point.engine != "trtllm" or point.is_own_sweep or point.gpu.startswith("H200"):
        return None
    is_fp4 = point.precision == "fp4"
    for sweep in SWEEPS:
        if sweep.has(point, decode.num_workers) and (is_fp4 or sweep.model not in FP4_SWEEPS):
            return sweep.batch
    return 1 if share == 2 else _round_below(share)


def _round_below(share: int) -> int:
    power = 1 << (share.bit_length() - 1)
    thrice = power // 2 * 3
    return thrice if power >= 128 and thrice <= share else power


def prompt_tokens(point: SiliconPoint, launch: Launch, ranks: int) -> int:
    """Tokens that one attention rank computes in a step of prompts, never less than a prompt [S].

    SGLang deals its chunk out over the ranks.
    """
    if point.engine == "vllm":
        budget = _WIDE_PROMPT
    elif point.engine == "trtllm":
        budget = _WIDE_PROMPT if point.precision == "fp4" else _NARROW_PROMPT
    else:
        budget = launch.max_num_batched_tokens if ranks == 1 else _SHARED_PROMPT // ranks
    return max(budget, point.isl) if point.engine in WHOLE_PROMPTS else budget


def started(point: SiliconPoint, launch: Launch, role: Role) -> Launch:
    """The launch of a pool: vLLM's prompts are not compiled, but launched kernel by kernel [S]."""
    if point.engine != "vllm" or role == "decode" or point.is_own_sweep:
        return launch
    eager_s = launch.host.eager_step_s / COMPILED
    return replace(launch, host=replace(launch.host, eager_step_s=eager_s))


def relabelled(point: SiliconPoint, pool: PoolLabels, role: Role) -> PoolLabels:
    """The pool as its recipe cuts it: vLLM's ranks of prompts, and wide ones, are data-parallel.

    The labels give them as tensor parallelism: with it, MLA's cache of all requests would be read
    on every rank, and the time of a token would not stay the same from 256 clients to 1,024.
    """
    is_published = point.engine == "vllm" and not point.is_own_sweep
    is_wide = role == "prefill" or pool.tp_size > LARGEST_TENSOR
    if not (is_published and is_wide and pool.moe_ep_size == pool.tp_size > 1):
        return pool
    return pool.model_copy(update={"tp_size": 1, "attention_dp_size": pool.tp_size})
