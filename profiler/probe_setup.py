"""How a device is measured: number format, what PyTorch runs on, and by which kernels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from servecast.primitives.dtype import Dtype


class Backend(StrEnum):
    """What PyTorch measures on."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class Kernels:
    """Names of the kernels that stand for one operation on one backend and not on another."""

    windowed: str
    mixed: str
    block_sparse: str
    experts: str
    collective: str


KERNELS = {
    Backend.CPU: Kernels("sdpa_chunks", "sdpa", "gathered", "expert_loop", "gloo"),
    Backend.CUDA: Kernels("flash_varlen", "flash_varlen", "flex", "grouped_mm", "nccl"),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """What all shapes of one run have in common."""

    dtype: Dtype
    """Of the weights; fp8 is for matrix products, and everything else then is in bf16."""
    backend: Backend = Backend.CUDA
    processes: int = 1
    """Ranks that collectives run over; with one there are none."""

    @property
    def wide(self) -> Dtype:
        """The format of attention, of tokens, and of what models keep in full precision."""
        return Dtype.BF16 if self.dtype is Dtype.FP8 else self.dtype

    @property
    def kernels(self) -> Kernels:
        """The kernels of the backend."""
        return KERNELS[self.backend]
