"""Parallel sizes as they really were, where a row's labels cannot be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.profiler.silicon_points import SiliconPoint

NODE = 8
"""GPUs of one node: the most over which tensor parallelism was run."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one replica is cut: attention over `tensor`, experts over all its GPUs."""

    tensor: int
    attention_data: int
    moe_expert: int
    """Ranks over which whole experts are dealt out; 1 slices every expert."""
    gpus: int
    repair: str = ""
    """What was wrong with the labels, or nothing."""

    def clients_a_rank(self, clients: int) -> int:
        """Clients of one attention rank, the fullest: requests are dealt out over them."""
        return -(-clients // self.attention_data)


def layout(point: SiliconPoint, *, has_experts: bool) -> Layout:
    """The layout of a point, its labels repaired.

    A dense model's expert sizes mean nothing. The rules are those of the public sample: square
    labels multiplied out (tp 16 of 4 x 4 ran on 4 GPUs; with attention data parallelism 4 of 2 x 2
    on 2, as the same run under another label shows), an attention-data size that repeats the tensor
    size, and a tensor size below what the experts span.
    """
    tensor, data = point.tp_size, point.attention_dp_size
    gpus = tensor * data * point.pp_size
    if not has_experts:
        return Layout(tensor, data, 1, gpus)
    moe_tensor, moe_expert = max(1, point.moe_tp_size), max(1, point.moe_ep_size)
    labelled = Layout(tensor, data, moe_expert, gpus)
    is_square = moe_tensor == moe_expert > 1 and tensor * data == moe_tensor * moe_expert
    if is_square and (data > 1 or tensor > NODE):
        return _multiplied_out(labelled, moe_expert)
    if data == tensor > 1 and moe_expert == tensor * data > NODE:
        repair = f"attention_dp_size {data} repeats tp_size: the run was tp {tensor}, ep {tensor}"
        return Layout(tensor, 1, tensor, tensor, repair)
    if data == 1 and tensor < moe_tensor * moe_expert <= NODE:
        wide = moe_tensor * moe_expert
        repair = f"tp_size {tensor} is below the {wide} GPUs that the experts span"
        return replace(labelled, tensor=wide, gpus=wide, repair=repair)
    return labelled


def _multiplied_out(labelled: Layout, side: int) -> Layout:
    repair = f"moe sizes {side} x {side} are one size given twice: the run had {side} GPUs"
    if labelled.attention_data > 1:
        return Layout(1, side, side, side, repair)
    return Layout(side, 1, side, side, repair)
