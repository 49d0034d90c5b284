"""The words that start vLLM as a deployment says, and the requests that it is given."""

from __future__ import annotations

from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.simulate import scheduler_limits
from servecast.traces.workload import Workload


def options(deployment: Deployment, workload: Workload, *, ahead: bool = False) -> list[str]:
    """As `emulate` gives them, or as an asynchronous scheduler's (`ahead`)."""
    limits = scheduler_limits(deployment, ledger(deployment), workload)
    given = words(arguments(deployment, limits.num_blocks + 1))
    return [word for word in given if not ahead or word != "--no-async-scheduling"]
