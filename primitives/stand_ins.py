"""What may stand for an operation that nothing like was measured."""

from __future__ import annotations

from dataclasses import replace

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.operations import AllReduce, DecodeAttention, Operation


def stand_in(operation: Operation, device: Accelerator) -> Operation | None:
    """Another operation that takes about as long; None where there is none.

    A windowed decode reads as much as a plain one over the tokens in the window. It takes up to
    1.6 times as long: where contexts outgrow a window of 128, vLLM's kernels for 64 sequences of
    gpt-oss on an H200 take 33 µs, and over 128 tokens without a window 20 µs.

    An all-reduce inside a node does what one of half its ranks does with the payload of which
    those send as much (`AllReduce.bytes`). From 4 to 8 ranks over NVLink that is 0.7 to 1.2 times
    what was measured, on A100 to B300, but for small messages of NCCL (0.6).
    """
    match operation:
        case DecodeAttention(window=int(), shared_latent=False):
            read = operation.tokens_read / operation.sequences
            return replace(operation, context_tokens=read, window=None, fill=1.0)
        case AllReduce(ranks=ranks) if 2 < ranks <= device.link.domain and ranks % 2 == 0:
            more = AllReduce(1.0, ranks).bytes / AllReduce(1.0, ranks // 2).bytes
            return AllReduce(operation.payload_bytes * more, ranks // 2)
        case _:
            return None
