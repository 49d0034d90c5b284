"""Attention that leaves keys out: a sliding window, and picked blocks.

On a CPU each run of queries is a call of the fused kernel on the keys that it sees; on CUDA picked
blocks are a mask of FlexAttention, compiled for its shape.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType

from servecast.profiler.torch_attention import attend
from servecast.profiler.torch_tensors import Kernel, Tensor

Sizes = Mapping[str, int]
LEAST_RUN = 128
"""Queries of a run at the least, where a window is narrower."""


def windowed(sizes: Sizes) -> Kernel:
    """A prompt chunk in runs of a window's length, each over itself and the window before it."""
    new, window, heads = sizes["new_tokens"], sizes["window"], sizes["heads"]
    past = min(sizes["past_tokens"], window - 1)
    runs = _runs(new, past, window)
    grouped = heads != sizes["kv_heads"]

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        return [_band(torch, device, run, past, window) for run in runs]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, *masks, key, value = tensors
        out: list[object] = []
        for (first, rows, start, columns), mask in zip(runs, masks, strict=True):
            seen = (torch.narrow(each, 2, start, columns) for each in (key, value))
            own = torch.narrow(query, 2, first, rows)
            out.append(attend(torch, [own, mask, *seen], grouped=grouped))
        return torch.cat(out, 2)

    keys = (1, sizes["kv_heads"], past + new, sizes["head_dim"])
    return Kernel(((1, heads, new, sizes["head_dim"]),), (keys, keys), call, made)


def _runs(new: int, past: int, window: int) -> list[tuple[int, int, int, int]]:
    """First query and queries of each run, with the first key that it sees and their number."""
    found: list[tuple[int, int, int, int]] = []
    length = max(window, LEAST_RUN)
    for first in range(0, new, length):
        rows = min(length, new - first)
        start = max(past + first - window + 1, 0)
        found.append((first, rows, start, past + first + rows - start))
    return found


def _band(
    torch: ModuleType, device: str, run: tuple[int, int, int, int], past: int, window: int
) -> Tensor:
    first, rows, start, columns = run
    ones = torch.ones(rows, columns, dtype=torch.bool, device=device)
    last = past + first - start  # the key of the run's first query
    return ones.tril(last).triu(last - window + 1)


def picked(row: int, density_percent: int) -> list[int]:
    """The blocks that a row of blocks attends to: earlier ones at even steps, then its own."""
    earlier = max(-(-density_percent * (row + 1) // 100), 1) - 1
    return [*(place * row // earlier for place in range(earlier)), row]


def gathered(sizes: Sizes) -> Kernel:
    """Each block of queries over its picked blocks of keys, which are copied together first."""
    block, heads, kv_heads = sizes["block"], sizes["heads"], sizes["kv_heads"]
    blocks, width = -(-sizes["tokens"] // block), sizes["head_dim"]
    rows = [picked(row, sizes["density_percent"]) for row in range(blocks)]
    most = max(map(len, rows))

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        diagonal = torch.ones(block, block, dtype=torch.bool, device=device).tril()
        widest = torch.ones(block, most * block, dtype=torch.bool, device=device)
        widest[:, -block:] = diagonal
        return [widest, *(torch.tensor(row, device=device) for row in rows)]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, widest, *indices, key, value = tensors
        out: list[object] = []
        for row, index in enumerate(indices):
            shape = (1, kv_heads, len(rows[row]) * block, width)
            seen = (torch.index_select(each, 2, index).view(shape) for each in (key, value))
            mask = torch.narrow(widest, 1, most * block - shape[2], shape[2])
            own = torch.select(query, 2, row)
            out.append(attend(torch, [own, mask, *seen], grouped=heads != kv_heads))
        return torch.cat(out, 2)

    keys = (1, kv_heads, blocks, block, width)
    return Kernel(((1, heads, blocks, block, width),), (keys, keys), call, made)


def flex(sizes: Sizes) -> Kernel:
    """All blocks in one call that skips those which no row picked."""
    block, heads, kv_heads = sizes["block"], sizes["heads"], sizes["kv_heads"]
    blocks, width = -(-sizes["tokens"] // block), sizes["head_dim"]
    rows = [picked(row, sizes["density_percent"])[:-1] for row in range(blocks)]

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        library = importlib.import_module("torch.nn.attention.flex_attention")
        torch.compiler.reset()  # after a few shapes it would give up compiling
        return [
            _block_mask(torch, library, device, rows, block),
            torch.compile(library.flex_attention),
        ]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, mask, attention, key, value = tensors
        if not callable(attention):
            raise TypeError("FlexAttention is a function")
        return attention(query, key, value, block_mask=mask, enable_gqa=heads != kv_heads)

    keys = (1, kv_heads, blocks * block, width)
    return Kernel(((1, heads, blocks * block, width),), (keys, keys), call, made)


def _block_mask(
    torch: ModuleType, library: ModuleType, device: str, rows: list[list[int]], block: int
) -> Tensor:
    """Picked blocks are full; a row's own block, on the diagonal, is masked inside."""

    def at(numbers: object) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=device)[None, None]

    def causal(_batch: object, _head: object, query: int, key: int) -> bool:
        return query >= key

    padded = [row + [0] * (len(rows) - len(row)) for row in rows]
    own = [[place] + [0] * (len(rows) - 1) for place in range(len(rows))]
    return library.BlockMask.from_kv_blocks(
        at([1] * len(rows)), at(own), at([len(row) for row in rows]), at(padded),
        BLOCK_SIZE=block, mask_mod=causal,
    )  # fmt: skip
