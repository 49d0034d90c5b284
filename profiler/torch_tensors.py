"""What a call of a kernel needs: tensors by shape, in as many copies as exceed the caches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from servecast.errors import UnsupportedError

Tensor = object
Shape = tuple[int, ...]
Call = Callable[[], object]

MOST_COPIES = 32
FREE_SHARE = 0.6
"""The share of the free memory that the tensors of a probe may take; calls have outputs besides."""

FORMATS = {
    "fp32": ("float32", 4),
    "bf16": ("bfloat16", 2),
    "fp16": ("float16", 2),
    "fp8": ("float8_e4m3fn", 1),
}
"""PyTorch's names of formats, with the bytes of an element."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel at one point: its tensors, and the call on them: hot, made, then cold ones."""

    hot: tuple[Shape, ...]
    """What the step has just written: the same tensors at every call."""
    cold: tuple[Shape, ...]
    """What a step reads once, weights and cached tokens: another copy at every call."""
    call: Callable[[ModuleType, Sequence[Tensor]], object]
    made: Callable[[ModuleType, str], Sequence[Tensor]] | None = None
    """Masks, indices and what else is no plain numbers, made on the device named; hot too."""


class Tensors:
    """Makes tensors of one format on one device, filled with numbers between −1 and 1."""

    def __init__(self, torch: ModuleType, device: str, dtype: str, free_bytes: int) -> None:
        self._torch, self._device = torch, device
        name, self._bytes = FORMATS[dtype]
        self._free_bytes = free_bytes
        self._tile = (torch.rand(2**16, device=device) * 2 - 1).to(getattr(torch, name))

    def calls(self, kernel: Kernel, cache_bytes: int) -> list[Call]:
        """Calls that between them read more than the caches hold.

        UnsupportedError where memory is short.
        """
        hot, cold = (sum(map(math.prod, own)) * self._bytes for own in (kernel.hot, kernel.cold))
        room = int(self._free_bytes * FREE_SHARE) - hot
        if cold > room:
            raise UnsupportedError(f"takes more than {FREE_SHARE:.0%} of the free memory")
        copies = min(-(-cache_bytes // cold), MOST_COPIES, room // cold) if cold else 1
        made = kernel.made(self._torch, self._device) if kernel.made else ()
        shared = [*map(self._tensor, kernel.hot), *made]
        sets = [[*shared, *map(self._tensor, kernel.cold)] for _ in range(max(copies, 1))]
        return [_bound(kernel, self._torch, own) for own in sets]

    def _tensor(self, shape: Shape) -> Tensor:
        count = math.prod(shape)
        tiles = -(-count // len(self._tile))
        return self._tile.repeat(tiles)[:count].view(shape)


def _bound(kernel: Kernel, torch: ModuleType, tensors: Sequence[Tensor]) -> Call:
    return lambda: kernel.call(torch, tensors)
