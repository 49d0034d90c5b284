"""vLLM's executor on a virtual device: the one class of the engine that is replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from servecast.timewarp.device import Step
from servecast.timewarp.foreign import foreign
from servecast.timewarp.meta_model_cache import model_cache
from servecast.timewarp.oracle import FILLER
from servecast.timewarp.serving import Serving


class NewRequest(Protocol):
    """A request in a scheduler's output that the workers have no state of."""

    req_id: str
    num_computed_tokens: int


class KnownRequests(Protocol):
    """Requests in a scheduler's output that the workers have seen before."""

    req_ids: Sequence[str]
    resumed_req_ids: set[str]
    num_computed_tokens: Sequence[int]


class SchedulerOutput(Protocol):
    """What is read of vLLM's `SchedulerOutput`."""

    scheduled_new_reqs: Sequence[NewRequest]
    scheduled_cached_reqs: KnownRequests
    num_scheduled_tokens: Mapping[str, int]
    finished_req_ids: set[str]
    preempted_req_ids: set[str] | None
    num_spec_tokens_to_schedule: int


class Ready:
    """The future of what is known already."""

    def __init__(self, value: object) -> None:
        self._value = value

    def done(self) -> bool:
        """Always."""
        return True

    def result(self, timeout: float | None = None) -> object:
        """The value."""
        return self._value


class StepFuture:
    """The output of steps: done once the clock is past their end, and asking for it waits.

    This one object serves synchronous scheduling, asynchronous scheduling and the batch queue of
    pipeline parallelism: they differ only in when they ask.
    """

    def __init__(self, serving: Serving, steps: Sequence[Step], output: object) -> None:
        self._serving = serving
        self._steps = steps
        self._output = output

    def done(self) -> bool:
        """Whether the last step has ended."""
        return self._serving.device.clock.now_ns() >= self._steps[-1].end_ns

    def result(self, timeout: float | None = None) -> object:
        """What came out, at the end or now, whichever is later."""
        self._serving.device.clock.jump_to(self._steps[-1].end_ns)
        self._serving.done.extend(self._steps)
        return self._output


class VirtualExecutor:
    """Answers as any number of workers would. vLLM's own `Executor` supplies the rest."""

    supports_pp = True
    serving: Serving
    parallel_config: Any
    cache_config: Any
    vllm_config: Any

    def _init_executor(self) -> None:
        self._outputs = foreign("vllm.v1.outputs")
        self._started: tuple[Step, list[str]] | None = None
        self._preempted: list[int] = []
        self._computed: list[str] = []
        self._drafts = 0
        self.serving.cache = model_cache(self.vllm_config)

    @classmethod
    def supports_async_scheduling(cls) -> bool:
        """As the executors of production do."""
        return True

    @property
    def supported_tasks(self) -> tuple[str, ...]:
        """What the stand-in model can do."""
        return ("generate",)

    def check_health(self) -> None:
        """A virtual device is well."""

    def compile_or_warm_up_model(self) -> None:
        """There is nothing to compile."""

    def collective_rpc(self, method: object, *_: object, **__: object) -> list[None]:
        """No worker has anything to add to what is answered below."""
        return [None] * self.parallel_config.world_size

    def get_kv_cache_specs(self) -> list[dict[str, Any]]:
        """The model's own, or a plain layer where those are not known."""
        return [dict(self.serving.cache.specs)] * self.parallel_config.world_size

    def determine_available_memory(self) -> list[int]:
        """Bytes that hold the blocks that were asked for."""
        held = self.serving.cache.bytes_per_block * self.cache_config.num_gpu_blocks_override
        return [held] * self.parallel_config.world_size

    def get_supported_kv_cache_layouts(self) -> list[list[str]]:
        """FlashAttention's; no tensor has it."""
        return [["LBNHC"]] * self.parallel_config.world_size

    def execute_model(
        self, scheduled: SchedulerOutput, *_: object, **__: object
    ) -> Ready | StepFuture:
        """Start a step. The future of None: its tokens come from `sample_tokens`."""
        serving = self.serving
        for request_id in scheduled.finished_req_ids:
            serving.requests.pop(request_id, None)
        self._place(scheduled)
        counts = scheduled.num_scheduled_tokens
        if not counts:
            return self._coast()
        work = [(serving.requests[request_id], count) for request_id, count in counts.items()]
        preempted, self._preempted = self._preempted, []
        step = serving.device.run(work, preempted, serving.blocks_used())
        self._computed, self._drafts = list(counts), scheduled.num_spec_tokens_to_schedule
        self._started = step, self._computed
        return Ready(None)

    def sample_tokens(self, *_: object, non_block: bool = False, **__: object) -> object:
        """The tokens of the step started last, waited for; or a future of them."""
        if self._started is None:
            raise RuntimeError("tokens are asked for, and no step was started")
        step, ids = self._started
        self._started = None
        future = StepFuture(self.serving, [step], self.output_of(ids, step.tokens))
        return future if non_block else future.result()

    def output_of(self, ids: list[str], tokens: Sequence[list[int]]) -> Any:
        """vLLM's own output of a step."""
        return self._outputs.ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={request_id: row for row, request_id in enumerate(ids)},
            sampled_token_ids=tokens,
        )

    def take_draft_token_ids(self) -> object:
        """Drafts for all who were computed last; a scheduler that runs ahead has its own."""
        drafts = [[FILLER] * self._drafts] * len(self._computed)
        return self._outputs.DraftTokenIds(self._computed, drafts)

    def _coast(self) -> Ready | StepFuture:
        """Nobody is scheduled: those who ride alone, if there are any, ride on."""
        serving, nothing = self.serving, self._outputs.EMPTY_MODEL_RUNNER_OUTPUT
        if not serving.device.riders.count:
            return Ready(nothing)
        steps = serving.device.coast(serving.arrivals.next_ns(), serving.blocks_used())
        serving.skip_steps(len(steps) - 1)
        return StepFuture(serving, steps, nothing)

    def _place(self, scheduled: SchedulerOutput) -> None:
        """Note who lost its blocks, and where those begin who are new or begin again."""
        requests = self.serving.requests
        for request_id in scheduled.preempted_req_ids or ():
            request = requests[request_id].request
            request.num_preemptions += 1
            self._preempted.append(request.index)
        for new in scheduled.scheduled_new_reqs:
            served = requests[new.req_id]
            served.place(new.num_computed_tokens)
            if not served.request.num_preemptions:
                served.request.cached_tokens = new.num_computed_tokens
        known = scheduled.scheduled_cached_reqs
        if known.resumed_req_ids:
            for request_id, computed in zip(known.req_ids, known.num_computed_tokens, strict=True):
                if request_id in known.resumed_req_ids:
                    requests[request_id].place(computed)


def executor_class(serving: Serving) -> type[Any]:
    """The class that vLLM makes its executor from."""
    theirs = foreign("vllm.v1.executor.abstract").Executor
    return type("Executor", (VirtualExecutor, theirs), {"serving": serving})
