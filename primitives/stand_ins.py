"""What may stand for an operation that nothing like was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.operations import (
    ACTIVATION_BYTES,
    AllReduce,
    DecodeAttention,
    Operation,
)

LATENCY_SHARE = 0.5
"""Of the shortest all-reduce among half the ranks: what twice as many wait for each other more."""

_WINDOW_ERROR = 0.6
_RANKS_ERROR, _PCIE_ERROR = 0.6, 1.9
"""By how much 90 % of messages up to 1 MiB take longer than forecast, at the most."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """Operations that together take about as long as another one."""

    parts: tuple[tuple[float, Operation], ...]
    """Each with how often it counts, the main one first."""
    relative_error: float
    """What measured times stay within, in 90 % of the cases known, as a share of this one's."""


def stand_in(operation: Operation, device: Accelerator) -> StandIn | None:
    """What takes about as long; None where there is nothing.

    A windowed decode reads as much as a plain one over the tokens in the window. It takes up to
    1.6 times as long: where contexts outgrow a window of 128, vLLM's kernels for 64 sequences of
    gpt-oss on an H200 take 33 µs, and over 128 tokens without a window 20 µs.

    An all-reduce inside a node does what one of half its ranks does with the payload of which
    those send as much (`AllReduce.bytes`), and waits longer. Against the largest number of ranks of
    each table, left out (`python -m benchmarks.unmeasured_ranks`): over NVLink 0.6 to 1.4 times
    what was measured (10 to 90 %), over PCIe 0.3 to 1.0 times.
    """
    match operation:
        case DecodeAttention(window=int(), shared_latent=False):
            read = operation.tokens_read / operation.sequences
            plain = replace(operation, context_tokens=read, window=None, fill=1.0)
            return StandIn(((1.0, plain),), _WINDOW_ERROR)
        case AllReduce(ranks=ranks) if 2 < ranks <= device.link.domain and ranks % 2 == 0:
            more = AllReduce(1.0, ranks).bytes / AllReduce(1.0, ranks // 2).bytes
            sent = AllReduce(operation.payload_bytes * more, ranks // 2)
            shortest = AllReduce(ACTIVATION_BYTES, ranks // 2)
            is_pcie = device.link.name.startswith("PCIe")
            error = _PCIE_ERROR if is_pcie else _RANKS_ERROR
            return StandIn(((1.0, sent), (LATENCY_SHARE, shortest)), error)
        case _:
            return None
