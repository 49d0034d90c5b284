"""Which of several tables for one operation speak for a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from servecast.primitives.cost_table import TableKey
from servecast.primitives.deployment import EngineName, ExpertsKernel
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    DeltaRule,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    SparseAttention,
)

OWN = "servecast"
"""The source of what our own profiler measures."""

LIBRARIES = ("nccl", "oneccl")
ENGINES: tuple[EngineName, ...] = ("vllm", "sglang", "trtllm")

TRAITS: Mapping[str, tuple[str, ...]] = {
    "distribution": ("", "power_law_1.2", "power_law_1.01", "balanced"),
    "scaling": ("", "block", "smooth"),
    "activations": ("", "bf16", "fp8", "mxfp8"),
}
"""Values of traits, best first; empty is a table without the trait. Even routing comes last: it
flatters what users' tokens do (median TPOT error of MoE models 14.0 % with it, 8.7 % with 1.2)."""

_ALIKE: Mapping[Dtype, tuple[str, ...]] = {
    Dtype.BF16: (Dtype.BF16, Dtype.FP16),
    Dtype.FP16: (Dtype.FP16, Dtype.BF16),
}
"""Formats of which one may stand for the other."""

_UNGATED = "nongated"


@dataclass(frozen=True, slots=True)
class TablePreferences:
    """The kernels of a deployment, as far as tables tell them apart."""

    sources: tuple[str, ...]
    """Whose kernels the deployment runs, best first."""
    siblings: tuple[str, ...] = ()
    """Whose kernels stand in where the own ones were not measured; answers are extrapolated."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """The version to ask first, by source; then newer ones come before older."""
    traits: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: TRAITS)
    """Values of traits that will do, best first. Kernels may be any where none is named."""
    fastest: frozenset[str] = frozenset()
    """Tables of which the fastest source counts, siblings included."""
    experts_kernel: ExpertsKernel = ""
    """What computes experts with 4-bit weights; empty is whatever was measured."""

    @classmethod
    def of_engine(cls, engine: EngineName, version: str) -> Self:
        """What is known of an engine: its own kernels first, then our profiler's, then libraries'.

        TensorRT-LLM's 8- and 4-bit products stand in its tables at 1.4 to 2.2 times the siblings'
        at small sizes, and its servers do not: taken as the fastest of the three, the median TPOT
        error of Llama-70B on B200 is 6.4 % instead of 26.5 %. Its experts have rival kernels up to
        19 times apart, of which its servers run the fast one: taken as the fastest, DeepSeek and
        gpt-oss on B200 are 8 to 46 % off instead of 22 to 160 %.
        """
        return cls(
            sources=(engine, OWN, *LIBRARIES),
            siblings=tuple(each for each in ENGINES if each != engine),
            versions={engine: version},
            fastest=frozenset({"gemm", "moe"}) if engine == "trtllm" else frozenset(),
        )

    def with_experts(self, kernel: ExpertsKernel) -> Self:
        """The same for a deployment whose 4-bit experts this kernel computes.

        Marlin is one kernel in all engines, so that the fastest table of it counts; it multiplies
        in bf16 whichever 4-bit format the weights have (200 to 240 TFLOP/s on an H200, where the
        Triton kernel for MXFP4 reaches 405).
        """
        fastest = self.fastest | {"moe"} if kernel == "marlin" else self.fastest
        return replace(self, experts_kernel=kernel, fastest=fastest)

    def rank(self, key: TableKey, operation: Operation) -> tuple[int, ...] | None:
        """How well a table of the operation's kind fits it, smaller is better; None: not at all.

        A trait that neither the preferences nor the operation name rules a table out, except its
        kernel: what it was measured with is then not known to be what is served.
        """
        kernel = self.experts_kernel if _has_narrow_weights(operation) else ""
        formats, traits = _formats(operation, kernel), key.traits
        if key.is_eager or key.dtype not in formats:
            return None
        if kernel == "marlin" and kernel not in traits.get("kernel", ""):
            return None
        wanted = {**self.traits, **_needed(operation, kernel)}
        if not traits.keys() <= {*wanted, "kernel"} or not _has_matrices(traits, operation):
            return None
        values = [(traits.get(trait, ""), will_do) for trait, will_do in wanted.items()]
        if any(value not in will_do for value, will_do in values):
            return None
        is_other_version = key.version != self.versions.get(key.source, key.version)
        ranks = (will_do.index(value) for value, will_do in values)
        return (formats.index(key.dtype), *ranks, is_other_version)


def _has_narrow_weights(operation: Operation) -> bool:
    """Whether it is of experts whose format has a choice of kernels."""
    return isinstance(operation, MoeExperts) and operation.dtype is Dtype.MXFP4


def _formats(operation: Operation, kernel: ExpertsKernel) -> tuple[str, ...]:
    """Formats of tables that will do for the operation, best first."""
    if kernel == "marlin":
        return (Dtype.INT4,)
    match operation:
        case Gemm() | MoeExperts():
            return _ALIKE.get(operation.dtype, (operation.dtype,))
        case PrefillAttention(kv_dtype=Dtype.FP32) | DecodeAttention(kv_dtype=Dtype.FP32):
            return (Dtype.FP32,)
        case PrefillAttention() | DecodeAttention() | SparseAttention():
            return (*_ALIKE[Dtype.BF16], Dtype.FP8)
        case AllReduce() | Collective() | Send() | ExpertExchange() | Elementwise() | DeltaRule():
            return _ALIKE[Dtype.BF16]


def _needed(operation: Operation, kernel: ExpertsKernel) -> dict[str, tuple[str, ...]]:
    """Traits that the operation itself asks for, or its kernel."""
    if kernel == "mxfp8":
        return {"activations": (kernel,)}
    if isinstance(operation, PrefillAttention | DecodeAttention | SparseAttention):
        kv_dtype = operation.kv_dtype
        kv = (*_ALIKE.get(kv_dtype, (kv_dtype,)), "")
        if isinstance(operation, SparseAttention):
            return {"kv": kv, "gemm": (operation.products[0].dtype, Dtype.FP8, Dtype.BF16)}
        return {"kv": kv}
    return {}


def _has_matrices(traits: Mapping[str, str], operation: Operation) -> bool:
    """Whether a table of experts has the operation's number of matrices: gated ones have three."""
    if not isinstance(operation, MoeExperts):
        return True
    return (_UNGATED in traits.get("kernel", "")) == (operation.matrices == 2)
