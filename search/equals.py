"""Points that a simulation has answered beside its own: limits that the traffic never reached."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servecast.search.points import Points
from servecast.simulator.result import Result

_LIMIT = "max_num_seqs"


def equals(points: Points, row: int, result: Result) -> NDArray[np.intp]:
    """Rows at which the simulation would go the same way, step for step.

    Their choices differ in `max_num_seqs` alone, which neither reaches, and the KV blocks of both
    hold all that was held. None are known for engines whose admission looks at the limit itself,
    with a prefix cache (what it forgets depends on the pool), nor where a plain cache stands for
    a hybrid one.
    """
    mine, deployed = points.candidate_at(row), result.deployment
    most, blocks = _most_at_once(result), result.peak_blocks
    told = (
        deployed.engine == "vllm"
        and not deployed.enable_prefix_caching
        and _LIMIT in mine.choice
        and _blocks(mine.memory.num_gpu_blocks) == result.num_blocks
    )
    if not told or most >= deployed.max_num_seqs or blocks >= result.num_blocks:
        return np.empty(0, dtype=np.intp)
    alike = points.siblings(row, _LIMIT)
    others = [points.candidates[number] for number in points.candidate[alike].tolist()]
    same = [
        other.deployment.max_num_seqs > most and _blocks(other.memory.num_gpu_blocks) > blocks
        for other in others
    ]
    return alike[np.array(same, dtype=np.bool_)]


def _blocks(num_gpu_blocks: int) -> int:
    """Those that requests can hold: vLLM keeps one for itself."""
    return num_gpu_blocks - 1


def _most_at_once(result: Result) -> int:
    """The most requests that a replica had admitted and not finished."""
    records, most = result.records, 0
    for replica in np.unique(records.replica):
        own = records.replica == replica
        begins, ends = np.sort(records.scheduled_ns[own]), np.sort(records.finish_ns[own])
        inside = np.arange(1, len(begins) + 1) - np.searchsorted(ends, begins, "left")
        most = max(most, int(inside.max()))
    return most
