"""One replica of vLLM in this process, with its clients and its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.records import merge
from servecast.simulator.result import Result
from servecast.timewarp.arrivals import Arrivals
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.dispatcher import Gauges
from servecast.timewarp.driver import Driver
from servecast.timewarp.journal import Journal
from servecast.timewarp.remote_kv import RemoteKv
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_engine import VllmEngine
from servecast.traces.workload import Workload


@dataclass(frozen=True, slots=True)
class Node:
    """What a replica is made of: its deployment, the words of its command, what its steps cost."""

    deployment: Deployment
    options: Sequence[str]
    cost: StepCost
    """Of the first stage of a pipeline, or of all there is."""
    later_stages: Sequence[StepCost] = ()

    def admission(self, workload: Workload) -> Admission:
        """What the engine's front end does to a workload."""
        deployment = self.deployment
        prefixes = workload.prefixes if deployment.enable_prefix_caching else None
        if prefixes is not None:
            prefixes = prefixes.in_blocks_of(deployment.block_size)
        return Admission(workload, deployment.max_model_len, prefixes)

    def result(self, workload: Workload, journals: Sequence[Journal], num_blocks: int) -> Result:
        """What its replicas reached, each with `num_blocks` KV blocks."""
        admission = self.admission(workload)
        return Result(
            deployment=self.deployment,
            workload=workload.name,
            records=merge([journal.recorder for journal in journals]),
            logs=[journal.log for journal in journals],
            cost=self.cost,
            arrived=len(workload),
            rejected=admission.rejected,
            truncated=admission.truncated,
            num_blocks=num_blocks,
            peak_blocks=max(journal.peak_blocks for journal in journals),
            is_open_loop=workload.concurrency is None,
            classes=workload.classes,
        )


class VllmReplica:
    """An engine, who drives it, and what it did."""

    def __init__(
        self,
        node: Node,
        clock: VirtualClock,
        arrivals: Arrivals,
        number: int = 0,
        *,
        log: BatchLog | None = None,
        stepping: bool = True,
        remote: RemoteKv | None = None,
    ) -> None:
        """Start the engine. InputError where vLLM refuses the options."""
        drafting = node.deployment.drafting
        device = VirtualDevice(clock, node.cost, node.later_stages, drafting)
        serving = Serving(device, arrivals)
        self.stepping = stepping
        self.journal = Journal(number, log, at_once=drafting is not None)
        self._engine = VllmEngine(
            node.deployment, node.options, serving, stepping=stepping, remote=remote
        )
        self.num_blocks = self._engine.num_blocks
        self.cache = str(serving.cache)
        self._driver = Driver(self._engine, serving, self.journal)

    @property
    def gauges(self) -> Gauges:
        """What the engine says of itself."""
        return self._engine

    def run(self) -> None:
        """Serve whoever comes; raises as `Driver` does."""
        self._driver.run()

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()
