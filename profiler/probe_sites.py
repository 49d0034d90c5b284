"""The shapes that models bring to a device, and what of them is not measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.decomposition import (
    decode_operations,
    head_operations,
    prefill_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import DenseFfn, LinearAttention, ModelSpec, MoeFfn
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
)
from servecast.primitives.sharding import Sharding, require

LATENT = "latent attention: PyTorch has no kernel of it that engines run"
EXPERTS = "routed experts: PyTorch has no fused kernel of them"
ALL_REDUCE = "all-reduce: takes several devices, and one is measured"
WINDOW = "prompts in a sliding window: PyTorch's fused attention has no window"
LINEAR = "linear attention's state update: PyTorch has no kernel of it"


@dataclass(frozen=True, slots=True, order=True)
class ProbeSite:
    """One shape: an operation with all its sizes but those that grow with the batch."""

    operation: str
    sizes: tuple[tuple[str, int], ...]
    traits: tuple[tuple[str, str], ...] = ()
    """Of its table's key."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """What models need measured: their shapes, and the reasons for what is missing from them."""

    sites: tuple[ProbeSite, ...]
    unmeasured: dict[str, tuple[str, ...]] = field(hash=False)
    """Reason to the names of the models that it concerns."""


def shapes_of(
    models: Sequence[ModelSpec],
    tensor_parallel_sizes: Iterable[int],
    dtype: Dtype,
    device: Accelerator,
) -> Shapes:
    """The shapes on one rank, each once; InputError for sizes that a model cannot be cut into."""
    sites: set[ProbeSite] = set()
    missing: dict[str, list[str]] = {}
    sizes = tuple(tensor_parallel_sizes)
    for model in models:
        for size in sizes:
            require(model, Sharding(size))
            for found in _of_model(_deployment(model, size, dtype, device)):
                if isinstance(found, ProbeSite):
                    sites.add(found)
                elif model.name not in missing.setdefault(found, []):
                    missing[found].append(model.name)
    return Shapes(tuple(sorted(sites)), {why: tuple(names) for why, names in missing.items()})


def _deployment(model: ModelSpec, size: int, dtype: Dtype, device: Accelerator) -> Deployment:
    tokens = model.max_model_len
    return Deployment(
        model, device, "vllm", "", dtype, dtype, tokens, 1, tokens, tensor_parallel_size=size
    )


def _of_model(deployment: Deployment) -> Iterator[ProbeSite | str]:
    """The model's shapes, and reasons for what is none."""
    for counted in (
        token_operations(deployment, 1.0),
        head_operations(deployment, 1.0),
        prefill_operations(deployment, 1.0, 0.0),
        decode_operations(deployment, 1, 1.0),
    ):
        for _, operation in counted:
            yield from _of_operation(operation)
    yield from _memory_bound(deployment)


def _of_operation(operation: Operation) -> Iterator[ProbeSite | str]:
    match operation:
        case Gemm(n=n, k=k):
            yield ProbeSite("gemm", (("n", n), ("k", k)))
        case PrefillAttention() | DecodeAttention():
            yield _attention(operation)
        case MoeExperts():
            yield EXPERTS
        case AllReduce():
            yield ALL_REDUCE
        case _:
            pass


def _attention(operation: PrefillAttention | DecodeAttention) -> ProbeSite | str:
    """Contexts of a decode are clipped to a window before: its kernel needs none."""
    heads = (("heads", operation.heads), ("kv_heads", operation.kv_heads))
    sizes = (*heads, ("head_dim", operation.head_dim), ("window", 0))
    traits = (("kv", str(operation.kv_dtype)), ("kernel", "sdpa"))
    if operation.head_dim != operation.value_dim:
        return LATENT
    if isinstance(operation, DecodeAttention):
        return ProbeSite("decode_attention", sizes, traits)
    if operation.window is not None:
        return WINDOW
    return ProbeSite("prefill_attention", (("batch", 1), *sizes), traits)


def _memory_bound(deployment: Deployment) -> Iterator[ProbeSite | str]:
    """Norms, activations and the sampler; a linear layer's state, which is none of these."""
    model, sharding = deployment.model, Sharding.of(deployment)
    yield _layer("layernorm", model.hidden)
    yield ProbeSite("sampling", (("vocab", model.vocab),))
    for group in model.layers:
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
            yield _layer("act_fn", 2 * width)


def _layer(name: str, width: int) -> ProbeSite:
    """Elementwise work by the layer's name in imported tables, with what a token brings to it."""
    return ProbeSite("elementwise", (("width", width),), (("layer", name), ("kernel", "torch")))
