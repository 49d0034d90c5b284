"""How a replica's model is cut over its ranks, and which cuts the engine refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.model import (
    Attention,
    DeltaHeads,
    DenseFfn,
    Ffn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    ModelSpec,
    MoeFfn,
)

VOCAB_PADDING = 64
"""The engine rounds the vocabulary up to this multiple before it cuts it."""

LEADING_LAYERS = 3
"""A kind with at most this many layers stands at the front, as DeepSeek's dense layers do."""


def cdiv(value: int, parts: int) -> int:
    """`value / parts`, rounded up."""
    return -(-value // parts)


@dataclass(frozen=True, slots=True)
class Sharding:
    """The parallel sizes of one replica; its methods give what the fullest rank holds.

    Rules of vLLM 0.32.0. Attention is cut by heads over the tensor-parallel ranks; KV heads scarcer
    than ranks are copied; what MLA caches and the router's matrix are copied to every rank.
    Data-parallel ranks repeat attention and dense layers and have a KV cache each, but share one
    set of experts: over tensor x data ranks either experts are dealt out (expert parallel) or each
    expert is sliced.
    """

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False

    @classmethod
    def of(cls, deployment: Deployment) -> Sharding:
        """The sharding of each replica of a deployment."""
        return cls(
            deployment.tensor_parallel_size,
            deployment.pipeline_parallel_size,
            deployment.data_parallel_size,
            deployment.enable_expert_parallel,
        )

    @property
    def expert_ranks(self) -> int:
        """Ranks among which one layer's experts are shared out."""
        return self.tensor_parallel_size * self.data_parallel_size

    @property
    def ranks(self) -> int:
        """Ranks of one replica."""
        return self.expert_ranks * self.pipeline_parallel_size

    @property
    def copies_shared_experts(self) -> bool:
        """Whether each rank keeps whole shared experts: the sequence-parallel mixture of experts.

        vLLM switches it on by itself where experts are dealt out over both kinds of ranks.
        """
        both = self.tensor_parallel_size > 1 and self.data_parallel_size > 1
        return self.enable_expert_parallel and both

    @property
    def exchange_ranks(self) -> int:
        """Ranks that send each other tokens for experts; 1 where each has those of all."""
        if self.data_parallel_size == 1:
            return 1
        return self.expert_ranks if self.copies_shared_experts else self.data_parallel_size

    def exchange_nodes(self, domain: int) -> int:
        """Over how many nodes of `domain` accelerators these are spread.

        Ranks of tensor parallelism are neighbours.
        """
        apart = self.expert_ranks // self.exchange_ranks
        return cdiv(self.exchange_ranks, max(1, domain // apart))

    def kv_heads(self, kv_heads: int) -> int:
        """KV heads of one rank: at least one, copied where ranks outnumber heads."""
        return _local_kv_heads(kv_heads, self.tensor_parallel_size)

    def stage_layers(self, layers: int) -> int:
        """Layers of the fullest pipeline stage; stages differ by one where they cannot be equal."""
        return cdiv(layers, self.pipeline_parallel_size)

    def stage(self, model: ModelSpec) -> tuple[LayerGroup, ...]:
        """The layers of the dearest pipeline stage, not yet cut over tensor-parallel ranks.

        Kinds alternate in most models, so a stage has its part of each, rounded up. Kinds of
        `LEADING_LAYERS` or fewer are all in the first stage: the dearest stage is then a later one
        and has layers of the commonest kind in their place.
        """
        if self.pipeline_parallel_size == 1:
            return model.layers
        counts = [group.count for group in model.layers]
        common = counts.index(max(counts))
        for index, count in enumerate(counts):
            if index != common and count <= LEADING_LAYERS:
                counts[common] += count
                counts[index] = 0
        return tuple(
            replace(group, count=self.stage_layers(count))
            for group, count in zip(model.layers, counts, strict=True)
            if count
        )

    def local_mixer(self, mixer: Mixer) -> Mixer:
        """The part of a mixer that one rank computes, as a smaller mixer of the same kind."""
        return _local_mixer(mixer, self.tensor_parallel_size)

    def local_ffn(self, ffn: Ffn) -> Ffn:
        """The part of a feed-forward layer that the fullest rank computes, of the same kind.

        Under expert parallelism the first ranks take one expert more where the experts do not
        divide; without it every rank has a slice of every expert.
        """
        tp = self.tensor_parallel_size
        match ffn:
            case DenseFfn():
                return replace(ffn, width=cdiv(ffn.width, tp))
            case MoeFfn():
                shared = ffn.shared_width
                shared = shared if self.copies_shared_experts else cdiv(shared, tp)
                if self.enable_expert_parallel:
                    experts = cdiv(ffn.experts, self.expert_ranks)
                    return replace(ffn, experts=experts, shared_width=shared)
                return replace(ffn, width=cdiv(ffn.width, self.expert_ranks), shared_width=shared)


@cache
def _local_mixer(mixer: Mixer, tp: int) -> Mixer:
    """Kept, as pricing a chunk of a prompt asks for it each time."""
    match mixer:
        case Attention():
            kv_heads = _local_kv_heads(mixer.kv_heads, tp)
            return replace(mixer, heads=cdiv(mixer.heads, tp), kv_heads=kv_heads)
        case LatentAttention():
            return replace(mixer, heads=cdiv(mixer.heads, tp))
        case LinearAttention():
            return replace(
                mixer,
                projection_params=cdiv(mixer.projection_params, tp),
                state_elements=cdiv(mixer.state_elements, tp),
                convolution_elements=cdiv(mixer.convolution_elements, tp),
                delta=mixer.delta and _local_delta(mixer.delta, tp),
            )


def _local_kv_heads(kv_heads: int, tp: int) -> int:
    return max(1, kv_heads // tp)


def _local_delta(heads: DeltaHeads, tp: int) -> DeltaHeads:
    return replace(
        heads, key_heads=cdiv(heads.key_heads, tp), value_heads=cdiv(heads.value_heads, tp)
    )


def check(model: ModelSpec, sharding: Sharding) -> str | None:
    """Why the engine refuses to cut the model so, naming value and rule, or None if it accepts.

    The rules are those of vLLM 0.32.0. Experts need not divide over expert-parallel ranks (only its
    load balancer wants that), but no rank may be without any. Not checked: whether a slice holds
    whole quantization groups (128 columns for block-scaled fp8 and most int4 checkpoints).
    """
    return next(_refusals(model, sharding), None)


def require(model: ModelSpec, sharding: Sharding) -> None:
    """Raise `InputError` with the reason where `check` finds one."""
    reason = check(model, sharding)
    if reason is not None:
        sizes = [str(tp) for tp in (1, 2, 4, 8, 16) if _tensor_parallel_fits(model, sharding, tp)]
        fitting = ", ".join(sizes) or "none of 1, 2, 4, 8, 16"
        raise InputError(
            f"{model.name} cannot be split as asked: {reason}",
            hint=f"tensor_parallel_size that fits, all else equal: {fitting}",
        )


def _tensor_parallel_fits(model: ModelSpec, sharding: Sharding, size: int) -> bool:
    return check(model, replace(sharding, tensor_parallel_size=size)) is None


def _refusals(model: ModelSpec, sharding: Sharding) -> Iterator[str]:
    tp, pp = sharding.tensor_parallel_size, sharding.pipeline_parallel_size
    if pp > model.num_layers:
        yield f"pipeline_parallel_size {pp} exceeds the model's {model.num_layers} layers"
    padded_vocab = cdiv(model.vocab, VOCAB_PADDING) * VOCAB_PADDING
    if padded_vocab % tp:
        yield f"the vocabulary, padded to {padded_vocab}, does not divide by {_size(tp)}"
    if sharding.enable_expert_parallel and not _mixtures(model):
        yield "enable_expert_parallel is set and the model has no experts"
    for group in model.layers:
        yield from _mixer_refusals(group.mixer, tp)
        yield from _ffn_refusals(group.ffn, sharding)


def _size(tensor_parallel_size: int) -> str:
    return f"tensor_parallel_size {tensor_parallel_size}"


def _mixtures(model: ModelSpec) -> list[MoeFfn]:
    return [group.ffn for group in model.layers if isinstance(group.ffn, MoeFfn)]


def _mixer_refusals(mixer: Mixer | None, tp: int) -> Iterator[str]:
    if isinstance(mixer, Attention | LatentAttention) and mixer.heads % tp:
        yield f"{mixer.heads} attention heads do not divide by {_size(tp)}"
    if isinstance(mixer, Attention) and mixer.kv_heads % tp and tp % mixer.kv_heads:
        yield f"{_size(tp)} is neither a divisor nor a multiple of {mixer.kv_heads} KV heads"
    if isinstance(mixer, LinearAttention) and mixer.state_elements % tp:
        yield f"a recurrent state of {mixer.state_elements} elements does not divide by {_size(tp)}"


def _ffn_refusals(ffn: Ffn | None, sharding: Sharding) -> Iterator[str]:
    tp, ranks = sharding.tensor_parallel_size, sharding.expert_ranks
    if isinstance(ffn, DenseFfn) and ffn.width % tp:
        yield f"feed-forward width {ffn.width} does not divide by {_size(tp)}"
    if not isinstance(ffn, MoeFfn):
        return
    if not sharding.copies_shared_experts and ffn.shared_width % tp:
        yield f"shared-expert width {ffn.shared_width} does not divide by {_size(tp)}"
    if sharding.enable_expert_parallel:
        if ranks > ffn.experts:
            yield f"{ranks} expert-parallel ranks exceed the {ffn.experts} experts"
    elif ffn.width % ranks:
        yield (
            f"expert width {ffn.width} does not divide by tensor_parallel_size"
            f" x data_parallel_size = {ranks}"
        )
