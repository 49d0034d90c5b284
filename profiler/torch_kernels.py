"""The kernels of PyTorch that are timed, with the tensors that a call of each needs."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from servecast.errors import UnsupportedError
from servecast.profiler.probe import Probe

Tensor = object
Shape = tuple[int, ...]
Call = Callable[[], object]

MOST_COPIES = 32
FREE_SHARE = 0.6
"""The share of the free memory that the tensors of a probe may take; calls have outputs besides."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel at one point: its tensors, and the call on them."""

    hot: tuple[Shape, ...]
    """What the step has just written: the same tensors at every call."""
    cold: tuple[Shape, ...]
    """What a step reads once, weights and cached tokens: another copy at every call."""
    call: Callable[[ModuleType, Sequence[Tensor]], object]
    mask: tuple[int, int] | None = None
    """Rows and columns of a causal mask that ends in the lower right corner; a hot one more."""


def kernel_of(probe: Probe) -> Kernel:
    """The kernel of a probe, with its shapes; UnsupportedError for one that there is none of."""
    name = probe.key.traits.get("layer", probe.key.operation)
    build = _KERNELS.get(name)
    if build is None:
        raise UnsupportedError(f"PyTorch has no kernel for {name}")
    return build(probe.sizes)


class Tensors:
    """Makes tensors of one format on one device, filled with numbers between −1 and 1."""

    def __init__(self, torch: ModuleType, device: str, dtype: str, free_bytes: int) -> None:
        self._torch, self._device = torch, device
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[dtype]
        self._bytes = 4 if dtype == "fp32" else 2
        self._free_bytes = free_bytes
        self._tile = (torch.rand(2**16, device=device) * 2 - 1).to(self._dtype)

    def calls(self, kernel: Kernel, cache_bytes: int) -> list[Call]:
        """Calls that between them read more than the caches hold.

        UnsupportedError where memory is short.
        """
        hot, cold = (sum(map(math.prod, own)) * self._bytes for own in (kernel.hot, kernel.cold))
        room = int(self._free_bytes * FREE_SHARE) - hot
        if cold > room:
            raise UnsupportedError(f"takes more than {FREE_SHARE:.0%} of the free memory")
        copies = min(-(-cache_bytes // cold), MOST_COPIES, room // cold) if cold else 1
        shared = [*map(self._tensor, kernel.hot), *map(self.mask, filter(None, [kernel.mask]))]
        sets = [[*shared, *map(self._tensor, kernel.cold)] for _ in range(max(copies, 1))]
        return [_bound(kernel, self._torch, own) for own in sets]

    def mask(self, shape: Shape) -> Tensor:
        """On CUDA the name of a mask, which fused kernels know; elsewhere its entries."""
        rows, columns = shape
        if self._device == "cuda":
            return importlib.import_module("torch.nn.attention.bias").causal_lower_right(*shape)
        return self._torch.ones(rows, columns, dtype=self._torch.bool).tril(columns - rows)

    def _tensor(self, shape: Shape) -> Tensor:
        count = math.prod(shape)
        tiles = -(-count // len(self._tile))
        return self._tile.repeat(tiles)[:count].view(shape)


def _bound(kernel: Kernel, torch: ModuleType, tensors: Sequence[Tensor]) -> Call:
    return lambda: kernel.call(torch, tensors)


def _gemm(sizes: Mapping[str, int]) -> Kernel:
    m, n, k = sizes["m"], sizes["n"], sizes["k"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        x, out, weights = tensors
        return torch.mm(x, torch.t(weights), out=out)

    return Kernel(((m, k), (m, n)), ((n, k),), call)


def _prefill(sizes: Mapping[str, int]) -> Kernel:
    new, past = sizes["new_tokens"], sizes["past_tokens"]
    queries = (sizes["batch"], sizes["heads"], new, sizes["head_dim"])
    keys = (sizes["batch"], sizes["kv_heads"], past + new, sizes["head_dim"])
    grouped = sizes["heads"] != sizes["kv_heads"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, *mask, key, value = tensors
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, *mask, is_causal=not mask, enable_gqa=grouped
        )

    return Kernel((queries,), (keys, keys), call, (new, past + new) if past else None)


def _decode(sizes: Mapping[str, int]) -> Kernel:
    batch, width = sizes["batch"], sizes["head_dim"]
    keys = (batch, sizes["kv_heads"], sizes["context_tokens"], width)
    grouped = sizes["heads"] != sizes["kv_heads"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        return torch.nn.functional.scaled_dot_product_attention(*tensors, enable_gqa=grouped)

    return Kernel(((batch, sizes["heads"], 1, width),), (keys, keys), call)


def _layernorm(sizes: Mapping[str, int]) -> Kernel:
    """Adds to the residual and scales by its root mean square."""
    tokens, width = sizes["tokens"], sizes["width"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        x, residual, weights = tensors
        torch.add(x, residual, out=residual)
        return torch.nn.functional.rms_norm(residual, (width,), weights)

    return Kernel(((tokens, width), (tokens, width), (width,)), (), call)


def _act_fn(sizes: Mapping[str, int]) -> Kernel:
    """The gate's SiLU times the other half of the row."""

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        (x,) = tensors
        gate, up = torch.chunk(x, 2, dim=-1)
        return torch.mul(torch.nn.functional.silu(gate), up)

    return Kernel(((sizes["tokens"], sizes["width"]),), (), call)


def _sampling(sizes: Mapping[str, int]) -> Kernel:
    """Draws by dividing probabilities by exponential noise, which needs no stop of the host."""
    shape = (sizes["sequences"], sizes["vocab"])

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        (logits,) = tensors
        shares = torch.softmax(logits, -1, dtype=torch.float32)
        return torch.argmax(shares.div_(torch.empty_like(shares).exponential_()), -1)

    return Kernel((shape,), (), call)


_KERNELS: Mapping[str, Callable[[Mapping[str, int]], Kernel]] = {
    "gemm": _gemm,
    "prefill_attention": _prefill,
    "decode_attention": _decode,
    "layernorm": _layernorm,
    "act_fn": _act_fn,
    "sampling": _sampling,
}
