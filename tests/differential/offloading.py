"""vLLM with its own `OffloadingConnector` on a virtual device: transfers take their time on links.

The scheduler's side is vLLM's. Of the worker's side (`offloading/worker.py`) it keeps when jobs
begin and when they are asked after; no bytes are moved.
"""

from __future__ import annotations

from typing import Any

import pytest

from servecast.simulator.link import Link
from servecast.timewarp.foreign import foreign
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_executor import Ready, SchedulerOutput, StepFuture, VirtualExecutor


class OffloadingExecutor(VirtualExecutor):
    """Says with each step which transfers were over when it was handed over."""

    to_gpu: Link
    to_host: Link

    def _init_executor(self) -> None:
        super()._init_executor()
        self._common = foreign("vllm.distributed.kv_transfer.kv_connector.v1.offloading.common")
        self._unsent: dict[int, Any] = {}
        self._ends_ns: dict[int, int] = {}
        self._loads: dict[int, str] = {}

    def execute_model(
        self, scheduled: SchedulerOutput, *_: object, **__: object
    ) -> Ready | StepFuture:
        """Start transfers and a step; where nobody can be computed, wait for a transfer."""
        clock = self.serving.device.clock
        self._begin(scheduled.kv_connector_metadata, clock.now_ns())  # type: ignore[attr-defined]
        if scheduled.num_scheduled_tokens:
            self._over = self._ended(clock.now_ns())
            return super().execute_model(scheduled)
        super().execute_model(scheduled)
        over = self._ended(clock.now_ns())
        if over is None and self._ends_ns:
            coming = [min(self._ends_ns.values()), self.serving.arrivals.next_ns()]
            clock.jump_to(min(ns for ns in coming if ns is not None))
            over = self._ended(clock.now_ns())
        return Ready(self._outputs.ModelRunnerOutput([], {}, kv_connector_output=over))

    def output_of(self, ids: list[str], tokens: Any) -> Any:
        """vLLM's output of a step, with the transfers."""
        output = super().output_of(ids, tokens)
        output.kv_connector_output = self._over
        return output

    def _begin(self, said: Any, now_ns: int) -> None:
        """Order the stores of the step before, and this one's loads. Nobody waits for stores of
        blocks that are given to others."""
        for job_id in said.jobs_to_flush or ():
            if job_id in said.store_jobs:
                self._unsent[job_id] = said.store_jobs.pop(job_id)
        for job_id, job in self._unsent.items():
            self._ends_ns[job_id] = self.to_host.send(now_ns, len(job.src_spec.block_ids))
        self._unsent = dict(said.store_jobs)
        for job_id, job in said.load_jobs.items():
            self._ends_ns[job_id] = self.to_gpu.send(now_ns, len(job.dst_spec.block_ids))
            self._loads[job_id] = job.req_id

    def _ended(self, now_ns: int) -> Any:
        over = [job_id for job_id, end_ns in self._ends_ns.items() if end_ns <= now_ns]
        if not over:
            return None
        for job_id in over:
            del self._ends_ns[job_id]
        loaded = {self._loads.pop(job_id) for job_id in over if job_id in self._loads}
        jobs = self._common.OffloadingWorkerMetadata(dict.fromkeys(over, 1))
        return self._outputs.KVConnectorOutput(
            finished_recving=loaded, kv_connector_worker_meta=jobs
        )


def in_order_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have vLLM take requests that end in the same step in the order of their names.

    It keeps them as a set of strings, so that what its tier drops first is another in every
    process, with the seed of Python's hashes.
    """
    scheduler = foreign("vllm.distributed.kv_transfer.kv_connector.v1.offloading.scheduler")
    connector = scheduler.OffloadingConnectorScheduler
    build = connector.build_connector_meta

    def sorted_first(self: Any, scheduled: Any) -> Any:
        scheduled.finished_req_ids = dict.fromkeys(sorted(scheduled.finished_req_ids or ()))
        return build(self, scheduled)

    monkeypatch.setattr(connector, "build_connector_meta", sorted_first)


def offloading_executor_class(serving: Serving, to_gpu: Link, to_host: Link) -> type[Any]:
    """The class that vLLM makes its executor from."""
    theirs = foreign("vllm.v1.executor.abstract").Executor
    own = {"serving": serving, "to_gpu": to_gpu, "to_host": to_host}
    return type("Executor", (OffloadingExecutor, theirs), own)
