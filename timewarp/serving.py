"""What an emulated engine and its driver share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from servecast.timewarp.arrivals import Arrivals
from servecast.timewarp.device import Step, VirtualDevice
from servecast.timewarp.meta_model_cache import ModelCache
from servecast.timewarp.served import Served


def _no_blocks() -> int:
    return 0


def _one_by_one(steps: int) -> None:
    raise RuntimeError(f"{steps} steps are skipped by an engine that takes each")


_NO_CACHE = ModelCache({}, None)


@dataclass(slots=True)
class Serving:
    """One replica: its device, the requests on it, and the steps whose output it has taken."""

    device: VirtualDevice
    arrivals: Arrivals
    requests: dict[str, Served] = field(default_factory=dict[str, Served])
    """By the engine's id: the driver puts them in, the executor takes out the finished."""
    done: deque[Step] = field(default_factory=deque[Step])
    """Filled by the executor, emptied by the driver."""
    blocks_used: Callable[[], int] = _no_blocks
    """KV blocks that requests hold, as the engine's own pool counts them."""
    skip_steps: Callable[[int], None] = _one_by_one
    """Tells the engine's scheduler that a pass stood for more steps than one."""
    cache: ModelCache = _NO_CACHE
    """What the model's layers keep, as the executor found it."""
