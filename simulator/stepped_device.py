"""The device of a stepped engine: what a step costs on it, when it is done, what comes out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from servecast.primitives.batch import Batch, Group
from servecast.primitives.speculation import Speculation
from servecast.primitives.step_cost import StepCost
from servecast.simulator.cohort import CohortStep, Said
from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.stepped_request import SteppedRequest

_MOST_PRICES = 1 << 18
"""Prices of cohorts that are kept."""


class DeviceStep(NamedTuple):
    """One step, on the device from `start_ns` to `end_ns`."""

    start_ns: int
    end_ns: int
    decided: SchedulerPass
    batch: Batch
    said: list[int]
    """Tokens that come out of each request, in the order of the pass."""
    ended: list[SteppedRequest]
    """Who has its last token by it, or had it before."""

    def spell_out(self, said: Iterable[Said]) -> None:
        """Name some of those who took part in it as a cohort, in the order of the pass."""
        decided = self.decided
        before = dict(zip(decided.num_scheduled_tokens, self.said, strict=True))
        for request, scheduled, tokens, has_ended in said:
            decided.num_scheduled_tokens[request] = scheduled
            if scheduled > 1:
                decided.scheduled_spec_tokens[request] = scheduled - 1
            before[request] = tokens
            if has_ended:
                self.ended.append(request)
        in_order = sorted(before, key=lambda request: request.order)
        work = {request: decided.num_scheduled_tokens[request] for request in in_order}
        decided.num_scheduled_tokens = work
        self.said[:] = [before[request] for request in in_order]


def _none(request: int, position: int) -> int:
    """Accepted drafts, where nobody drafts."""
    return 0


class SteppedDevice:
    """Pipeline stages, one or more, each with one batch at a time, in the order they came."""

    def __init__(self, stages: Sequence[StepCost], speculation: Speculation | None) -> None:
        """`stages` are the costs of each; that of the first includes the engine's own time."""
        self._stages = stages
        self._cost = stages[0]
        self._speculation = speculation
        self._accepted = speculation.accepted if speculation else _none
        self._free_ns = [0] * len(stages)
        self._group: list[SteppedRequest] = []
        self._spread = 0
        self._alone_ns: dict[tuple[int, int, int], int] = {}
        """Of a cohort alone, by its sequences, tokens of each, and mean context."""

    def run(self, decided: SchedulerPass, now_ns: int) -> DeviceStep:
        """Start a step as soon as the first stage is free, `now_ns` or later."""
        work = decided.num_scheduled_tokens
        for request in decided.placed:
            request.place(request.num_computed_tokens - work[request])
        filling = [request for request in work if not request.is_decoding]
        batch = self._batch(work, decided.cohort)
        start_ns, end_ns = self._pass(batch, now_ns)
        for request in decided.placed:
            if request.request.scheduled_ns is None:
                request.request.scheduled_ns = start_ns
        if self._speculation is None:
            said = [request.take(count, 0) for request, count in work.items()]
        else:
            said = [each.take(count, self._rejected(each, count)) for each, count in work.items()]
        ended = [request for request in work if request.said >= request.end_tokens]
        if any(request.is_decoding and request not in ended for request in filling):
            self._group = []  # it changes, even if who joins is preempted before the next step
        return DeviceStep(start_ns, end_ns, decided, batch, said, ended)

    def alone(self, cohort: CohortStep, now_ns: int) -> tuple[int, int]:
        """When a step of nobody but a cohort would begin and end on a device of one stage."""
        _, sequences, context_sum, tokens = cohort
        key = sequences, tokens, context_sum // sequences
        step_ns = self._alone_ns.get(key)
        if step_ns is None:
            if len(self._alone_ns) >= _MOST_PRICES:
                self._alone_ns.clear()
            group = Group(tokens, sequences, context_sum, 0, True)
            step_ns = self._alone_ns[key] = sum(self._cost.step(Batch((group,))))
        start_ns = max(now_ns, self._free_ns[0])
        return start_ns, start_ns + step_ns

    def occupy(self, end_ns: int) -> None:
        """Take the step that `alone` told."""
        self._free_ns[0] = end_ns

    def _pass(self, batch: Batch, now_ns: int) -> tuple[int, int]:
        """When the first stage begins with a batch, and when the last is done with it."""
        free_ns = self._free_ns
        start_ns = done_ns = max(now_ns, free_ns[0])
        for stage, cost in enumerate(self._stages):
            device_ns, host_ns = cost.step(batch)
            done_ns = free_ns[stage] = max(done_ns, free_ns[stage]) + device_ns + host_ns
        return start_ns, done_ns

    def _batch(self, work: dict[SteppedRequest, int], cohort: CohortStep | None) -> Batch:
        decoding = [request for request in work if request.is_decoding]
        if cohort is not None or self._speculation is not None:
            groups = self._verified(decoding, work, cohort)
        else:
            groups = [self._decode_group(decoding)] if decoding else []
            self._group = decoding
        if len(decoding) < len(work):
            groups += [
                Group(count, 1, request.computed)
                for request, count in work.items()
                if not request.is_decoding
            ]
        return Batch(tuple(groups))

    def _decode_group(self, decoding: list[SteppedRequest]) -> Group:
        """Those who decode a token each; their spread is taken when the group changes."""
        contexts = [request.computed for request in decoding]
        if self._cost.needs_spread and decoding != self._group:
            self._spread = self._cost.spread(contexts)
        return Group(1, len(decoding), sum(contexts), self._spread, True)

    def _verified(
        self,
        decoding: list[SteppedRequest],
        work: dict[SteppedRequest, int],
        cohort: CohortStep | None,
    ) -> list[Group]:
        """Those who decode, one group for each number of drafts."""
        contexts: defaultdict[int, list[int]] = defaultdict(list)
        for request in decoding:
            contexts[work[request]].append(request.computed)
        groups = {
            count: Group(count, len(cached), sum(cached), self._cost.spread(cached), True)
            for count, cached in contexts.items()
        }
        if cohort is not None:
            _, sequences, context_sum, count = cohort
            alike = groups.get(count)
            if alike is not None:
                sequences, context_sum = sequences + alike[1], context_sum + alike[2]
            groups[count] = Group(count, sequences, context_sum, 0, True)
        return [groups[count] for count in sorted(groups)]

    def _rejected(self, request: SteppedRequest, count: int) -> int:
        """How many of the drafts in a step's `count` tokens the target does not confirm."""
        drafts = request.beyond(count)
        if not request.is_decoding:
            return drafts  # padding of one that begins again: nobody drafted for it
        emitted = request.said - request.request.prompt_tokens
        return drafts - min(drafts, self._accepted(request.request.index, emitted))
