"""What one model asks of one rank: its operations as shapes to measure, and what else pays.

Operations come from the decomposition that steps are priced by. Beside them stand those that it
composes of others, or does not know: verifying drafts, chunks that share a step with decodes,
sparse prompts, whole steps, copies between host and device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.decomposition import (
    decode_operations,
    head_operations,
    prefill_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    LayerGroup,
    LinearAttention,
    ModelSpec,
    MoeFfn,
)
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
from servecast.primitives.sharding import Sharding
from servecast.primitives.table_kinds import Place, place
from servecast.profiler.probe import COLLECTIVES
from servecast.profiler.probe_setup import Backend, Setup
from servecast.profiler.probe_site import ProbeSite, Unmeasured

VERIFIED = (2, 4, 8)
"""Queries of a verification: one to seven drafted tokens, and the one before."""
MIXED_TOKENS = 2048
"""Cached tokens of the chunk and of each decode in a mixed step."""
SPARSE_BLOCK = 128
SKIPPED = 0.45
"""The share of layers that a self-drafting step leaves out: SWIFT's default."""
ROUTINGS = ("power_law_1.2", "balanced")

INDEXER = Unmeasured(
    "decode_attention", "the indexer of sparse attention: PyTorch has no kernel of it"
)
PICKED = Unmeasured(
    "mla_prefill", "prompts that attend to picked tokens: PyTorch has no kernel of it"
)
LATENT = Unmeasured(
    "mla_decode", "latent attention of other widths than tables have (192/128, 576/512)"
)
NARROW_EXPERTS = Unmeasured("moe", "routed experts in fp8: measured in bf16 and fp32 only")
LINEAR = Unmeasured("elementwise", "linear attention's state update: PyTorch has no kernel of it")
STEPS = Unmeasured("model_step", "whole steps: of dense models with plain attention only")
HOST = Unmeasured("host_copy", "copies between host and device: the CPU is the host")

Found = Iterator[ProbeSite | Unmeasured]


@dataclass(frozen=True, slots=True)
class ModelSites:
    """One model on one rank of so many; `all` lists what to measure, shared shapes repeatedly."""

    model: ModelSpec
    tensor_parallel_size: int
    setup: Setup
    device: Accelerator

    def all(self) -> Found:
        """The model's shapes, and reasons for what is none."""
        deployment = self._deployment()
        for counted in (
            token_operations(deployment, 1.0),
            head_operations(deployment, 1.0),
            prefill_operations(deployment, 1.0, 1.0),  # a past, which latent attention expands
            decode_operations(deployment, 1, 1.0),
        ):
            for _, operation in counted:
                yield from self._of(operation)
        yield from self._memory_bound(Sharding.of(deployment))
        yield from self._collectives()
        yield from self._copies()
        if self.tensor_parallel_size == 1:
            yield from self._steps()

    def _deployment(self) -> Deployment:
        model, tokens = self.model, self.model.max_model_len
        return Deployment(
            model, self.device, "vllm", "", self.setup.dtype, self.setup.wide, tokens, 1, tokens,
            tensor_parallel_size=self.tensor_parallel_size,
        )  # fmt: skip

    def _of(self, operation: Operation) -> Found:
        found = place(operation)
        match operation:
            case Elementwise() | DeltaRule():
                pass
            case AllReduce(ranks=ranks):
                if ranks != self.setup.processes:
                    yield Unmeasured("all_reduce", f"all-reduce: takes {ranks} processes")
            case Gemm(dtype=dtype) if found:
                is_narrow = dtype is Dtype.FP8
                kernel = {"kernel": "scaled_mm"} if is_narrow else {}
                yield _site(found, dtype if is_narrow else self.setup.wide, kernel)
            case MoeExperts() if found:
                yield from self._experts(operation, found)
            case PrefillAttention() | DecodeAttention():
                yield from self._attention(operation, found)
            case SparseAttention():
                for part in operation.parts:
                    yield from self._of(part)
            case _:
                raise TypeError(f"no table has {type(operation).__name__}")

    def _experts(self, operation: MoeExperts, found: Place) -> Found:
        if self.setup.dtype is Dtype.FP8:
            yield NARROW_EXPERTS
            return
        kernel = self.setup.kernels.experts + ("" if operation.matrices == 3 else "_nongated")
        for routing in ROUTINGS:
            traits = {"distribution": routing, "kernel": kernel}
            yield _site(found, self.setup.wide, traits, tensor_parallel=1)

    def _attention(
        self, operation: PrefillAttention | DecodeAttention, found: Place | None
    ) -> Found:
        wide = self.setup.wide
        if found is None:
            sparse = isinstance(operation, PrefillAttention) and operation.window
            yield INDEXER if not operation.value_dim else PICKED if sparse else LATENT
            return
        traits = {"kv": str(wide), "kernel": "sdpa"}
        if isinstance(operation, DecodeAttention):
            yield _site(found, wide, traits)
        elif operation.window is not None:
            traits["kernel"] = self.setup.kernels.windowed
            yield _site(found, wide, traits, batch=1)
        else:
            yield _site(found, wide, traits, batch=1)
            if operation.head_dim == operation.value_dim:
                yield from self._variants(operation)

    def _variants(self, operation: PrefillAttention) -> Found:
        """Plain attention in steps that are neither a prompt alone nor a decode alone."""
        wide, kernels = self.setup.wide, self.setup.kernels
        heads = {"heads": operation.heads, "kv_heads": operation.kv_heads}
        heads["head_dim"] = operation.head_dim
        kv = {"kv": str(wide)}
        for queries in VERIFIED:
            sizes = {**heads, "queries": queries, "window": 0}
            yield _made("verify_attention", wide, sizes, {**kv, "kernel": "sdpa"})
        sizes = {**heads, "past_tokens": MIXED_TOKENS, "context_tokens": MIXED_TOKENS}
        yield _made("mixed_attention", wide, sizes, {**kv, "kernel": kernels.mixed})
        sizes = {**heads, "block": SPARSE_BLOCK}
        sparse = {**kv, "kernel": kernels.block_sparse}
        yield _made("block_sparse_attention", wide, sizes, sparse)

    def _memory_bound(self, sharding: Sharding) -> Found:
        """Norms, activations and the sampler; a linear layer's state, which is none of these."""
        yield self._layer("layernorm", self.model.hidden)
        yield _made("sampling", self.setup.wide, {"vocab": self.model.vocab}, {})
        for group in self.model.layers:
            if isinstance(group.mixer, LinearAttention):
                yield LINEAR
            if group.ffn is None:
                continue
            match sharding.local_ffn(group.ffn):
                case DenseFfn(width=width):
                    pass
                case MoeFfn(shared_width=width):
                    pass
            if width and group.ffn.gated:
                yield self._layer("act_fn", 2 * width)

    def _layer(self, name: str, width: int) -> ProbeSite:
        """Elementwise work by the layer's name in imported tables, and what a token brings."""
        traits = {"layer": name, "kernel": "torch"}
        return _made("elementwise", self.setup.wide, {"width": width}, traits)

    def _collectives(self) -> Found:
        if self.setup.processes > 1:
            ranks = {"ranks": self.setup.processes}
            for name in COLLECTIVES:
                yield _made(name, self.setup.wide, ranks, {"kernel": self.setup.kernels.collective})

    def _copies(self) -> Found:
        """Of a cache or of weights: whole, and in as many pieces as there are layers."""
        if self.setup.backend is Backend.CPU:
            yield HOST
            return
        for direction in ("to_device", "from_device"):
            for pieces in (1, self.model.num_layers):
                traits = {"direction": direction, "kernel": "copy"}
                yield _made("host_copy", self.setup.wide, {"pieces": pieces}, traits)

    def _steps(self) -> Found:
        """A decode step, a verification, and a step that skips layers to draft."""
        first, *others = self.model.layers
        if others or not _is_plain(first):
            yield STEPS
            return
        kept = round(first.count * (1 - SKIPPED))
        for queries, layers in ((1, first.count), (4, first.count), (1, kept)):
            sizes = {"queries": queries, "layers": layers, **_dims(self.model, first)}
            yield _made("model_step", self.setup.wide, sizes, {"kernel": "sdpa"})


def _is_plain(group: LayerGroup) -> bool:
    mixer, ffn = group.mixer, group.ffn
    if not isinstance(mixer, Attention) or not isinstance(ffn, DenseFfn) or not ffn.gated:
        return False
    is_square = mixer.value_dim == mixer.head_dim
    return is_square and mixer.window is None and not mixer.output_gate


def _dims(model: ModelSpec, group: LayerGroup) -> dict[str, int]:
    """Of a plain model, by the names of a step's table."""
    sizes = {"hidden": model.hidden, "vocab": model.vocab}
    if isinstance(group.mixer, Attention) and isinstance(group.ffn, DenseFfn):
        sizes |= {"heads": group.mixer.heads, "kv_heads": group.mixer.kv_heads}
        sizes |= {"head_dim": group.mixer.head_dim, "width": group.ffn.width}
    return sizes


def _site(found: Place, dtype: Dtype, traits: dict[str, str], **spare: int) -> ProbeSite:
    """The site of an operation that tables are read for."""
    sizes = dict(zip(found.kind.site, found.site, strict=True))
    return _made(found.kind.operation, dtype, sizes | spare, traits)


def _made(operation: str, dtype: Dtype, sizes: dict[str, int], traits: dict[str, str]) -> ProbeSite:
    return ProbeSite(operation, dtype, tuple(sizes.items()), tuple(traits.items()))
