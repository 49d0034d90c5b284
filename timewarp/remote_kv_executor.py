"""The virtual executor of an engine whose KV caches come over a link, or leave over one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servecast.timewarp.foreign import foreign
from servecast.timewarp.remote_kv import RemoteKv
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_executor import Ready, SchedulerOutput, StepFuture, VirtualExecutor


class RemoteKvExecutor(VirtualExecutor):
    """Says with each step which transfers were over when it was handed over."""

    remote: RemoteKv

    def execute_model(
        self, scheduled: SchedulerOutput, *_: object, **__: object
    ) -> Ready | StepFuture:
        """Start a step; where nobody can be computed, wait for a transfer or a newcomer."""
        if scheduled.num_scheduled_tokens:
            self._over = self._transfers()
            return super().execute_model(scheduled)
        super().execute_model(scheduled)
        over = self._transfers()
        if over is None and self.remote.is_waiting:
            coming = [self.remote.next_ns(), self.serving.arrivals.next_ns()]
            self.remote.doze(min((ns for ns in coming if ns is not None), default=None))
            over = self._transfers()
        return Ready(self._outputs.ModelRunnerOutput([], {}, kv_connector_output=over))

    def output_of(self, ids: list[str], tokens: Sequence[list[int]]) -> Any:
        """vLLM's output of a step, with the transfers."""
        output = super().output_of(ids, tokens)
        output.kv_connector_output = self._over
        return output

    def _transfers(self) -> Any:
        """vLLM's account of the transfers that are over; None where none is."""
        received, sent = self.remote.received(), self.remote.sent()
        if not received and not sent:
            return None
        return self._outputs.KVConnectorOutput(finished_recving=received, finished_sending=sent)


def remote_executor_class(serving: Serving, remote: RemoteKv) -> type[Any]:
    """The class that vLLM makes its executor from."""
    theirs = foreign("vllm.v1.executor.abstract").Executor
    return type("Executor", (RemoteKvExecutor, theirs), {"serving": serving, "remote": remote})
