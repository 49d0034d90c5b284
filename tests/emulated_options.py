"""The words that start vLLM as `servecast emulate` starts it."""

from __future__ import annotations

from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.replica_plan import scheduler_limits
from servecast.traces.workload import Workload


def options(deployment: Deployment, workload: Workload) -> list[str]:
    """The options of `vllm serve` but for the model."""
    limits = scheduler_limits(deployment, ledger(deployment), workload)
    return words(arguments(deployment, limits.num_blocks + 1))
