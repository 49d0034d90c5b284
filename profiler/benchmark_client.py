"""The client that measured the silicon sample: a closed loop that starts with a burst."""

from __future__ import annotations

import numpy as np

from servecast.traces.workload import Workload

PROMPTS_PER_CLIENT = 10
SHORTEST = 0.8
"""Of the nominal lengths, where the client draws them."""
THINK_NS = 500_000
"""From a request's last token to the next request."""


def benchmark_workload(
    clients: int, isl: int, osl: int, *, exact: bool, each: int = PROMPTS_PER_CLIENT
) -> Workload:
    """`each` prompts a client, all at once at first; mean 90 % of nominal length, or `exact`.

    The stream depends on the number of clients alone, so that a row always gets the same prompts.
    """
    count = each * clients
    rng = np.random.default_rng(clients)
    shortest = 1.0 if exact else SHORTEST
    prompts = np.rint(isl * rng.uniform(shortest, 1.0, count)).astype(np.int64)
    outputs = np.maximum(1, np.rint(osl * rng.uniform(shortest, 1.0, count)).astype(np.int64))
    arrivals = np.zeros(count, dtype=np.int64)
    return Workload("benchmark", arrivals, prompts, outputs, outputs, clients, THINK_NS)
