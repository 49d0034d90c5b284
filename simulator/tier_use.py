"""What passed between a replica's GPUs and its host's memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TierUse:
    """Bytes over all GPUs of one replica, from first to last."""

    loaded_bytes: int
    stored_bytes: int
