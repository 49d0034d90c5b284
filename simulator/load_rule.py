"""Whether what lies in a tier is brought, or computed again."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from servecast.primitives.batch import Batch, Group
from servecast.primitives.step_cost import StepCost
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits


class LoadRule(Protocol):
    """Asked when a request is first in line and the tier has blocks of it."""

    def __call__(self, request: Request, start: int, blocks: int, load_ns: int) -> bool:
        """Whether to load `blocks` from its `start`-th: in `load_ns`, queueing included."""
        ...


class LoadIfFaster:
    """Loads where a request that is served alone has its first token sooner for it."""

    def __init__(self, limits: SchedulerLimits, cost: StepCost) -> None:
        self._limits = limits
        self._cost = cost
        self._prefill_ns = cache(self._priced)

    def __call__(self, request: Request, start: int, blocks: int, load_ns: int) -> bool:
        """Whether to load `blocks` from its `start`-th: in `load_ns`, queueing included."""
        size, tokens = self._limits.block_size, request.num_tokens
        rest = min((start + blocks) * size, tokens - 1)
        return load_ns + self._prefill_ns(rest, tokens) < self._prefill_ns(start * size, tokens)

    def _priced(self, start: int, end: int) -> int:
        """Nanoseconds of the steps that compute a prompt's tokens from `start` to `end`."""
        total_ns, most = 0, self._limits.max_num_batched_tokens
        for past in range(start, end, most):
            step = self._cost.step(Batch((Group(min(most, end - past), 1, past),)))
            total_ns += sum(step)
        return total_ns
