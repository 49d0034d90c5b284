"""Routed experts: rows gathered by expert, their products, and the weighted sum back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import ModuleType

from servecast.profiler.routing import visits
from servecast.profiler.torch_tensors import Kernel, Tensor


def experts(sizes: Mapping[str, int], traits: Mapping[str, str]) -> Kernel:
    """The experts of one rank, by the traits' kernel and routing.

    Ranks hold every so-manieth expert in order of load, and this one is in the middle of them.
    """
    tokens, hidden, width = sizes["tokens"], sizes["hidden"], sizes["width"]
    ranks, kernel = sizes["expert_parallel"], traits["kernel"]
    loads = visits(tokens, sizes["experts_per_token"], sizes["experts"], traits["distribution"])
    local = loads[ranks // 2 :: ranks].tolist()
    is_gated = not kernel.endswith("_nongated")
    product = _grouped if kernel.startswith("grouped_mm") else _looped

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        rows = torch.arange(sum(local), device=device) % tokens
        ends = torch.tensor([*accumulate(local)], dtype=torch.int32, device=device)
        return [rows, ends, local]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        x, rows, ends, counts, up, down = tensors
        inner = product(torch, torch.index_select(x, 0, rows), ends, counts, up)
        out = product(torch, _activated(torch, inner, is_gated=is_gated), ends, counts, down)
        shares = torch.mul(out, 1 / sizes["experts_per_token"])
        return torch.index_add(torch.zeros_like(x), 0, rows, shares)

    outer = (2 if is_gated else 1) * width
    weights = ((len(local), outer, hidden), (len(local), hidden, width))
    return Kernel(((tokens, hidden),), weights, call, made)


def _activated(torch: ModuleType, inner: Tensor, *, is_gated: bool) -> Tensor:
    if not is_gated:
        return torch.nn.functional.relu(inner)
    gate, up = torch.chunk(inner, 2, dim=-1)
    return torch.mul(torch.nn.functional.silu(gate), up)


def _grouped(
    torch: ModuleType, x: Tensor, ends: Tensor, _counts: Tensor, weights: Tensor
) -> Tensor:
    """One call for all experts; weights are stored a row an output."""
    return torch.nn.functional.grouped_mm(x, torch.transpose(weights, -2, -1), offs=ends)


def _looped(torch: ModuleType, x: Tensor, _ends: Tensor, counts: Tensor, weights: Tensor) -> Tensor:
    """A product for each expert that has tokens."""
    if not isinstance(counts, list):
        raise TypeError("the loop goes over numbers that the host knows")
    parts = zip(torch.split(x, counts), torch.unbind(weights), strict=True)
    return torch.cat([torch.mm(own, torch.t(each)) for own, each in parts if len(own)])
