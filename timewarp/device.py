"""The virtual device: prices what an engine schedules and says when it would be done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from servecast.primitives.batch import Batch, Group
from servecast.primitives.speculation import Speculation
from servecast.primitives.step_cost import StepCost
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.oracle import END
from servecast.timewarp.riders import Riders
from servecast.timewarp.served import Served

Work = Sequence[tuple[Served, int]]
"""Who is computed in a step, and how many tokens of each."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an engine, on the device from `start_ns` to `end_ns`."""

    start_ns: int
    end_ns: int
    work: Work
    past: Sequence[int]
    """Tokens of each that were in the cache before."""
    tokens: Sequence[list[int]]
    """What came out of each; of one who rides on, also what the steps after this one will say."""
    batch: Batch
    riders: int
    """How many others decode in it whose tokens were handed out before."""
    preempted: Sequence[int]
    """Indices of the requests that lost their blocks when the step was scheduled."""
    blocks_used: int


class VirtualDevice:
    """Runs steps one after the other, in the order in which the engine hands them over.

    Where it is a pipeline each stage does so, and takes a step up when the stage before is done.
    """

    def __init__(
        self,
        clock: VirtualClock,
        cost: StepCost,
        later_stages: Sequence[StepCost] = (),
        speculation: Speculation | None = None,
    ) -> None:
        """`cost` is that of the first stage of a pipeline, or of all there is.

        With `speculation` tokens beyond the last one said are drafts; else they are granted.
        """
        self.clock = clock
        self.riders = Riders()
        self.step_ns = 0
        """How long the last step takes."""
        self._cost = cost
        self._speculation = speculation
        self._stages = [cost, *later_stages]
        self._free_ns = [0] * len(self._stages)
        self._last_end_ns = 0
        self._group: list[Served] = []
        self._spread = 0

    def run(self, work: Work, preempted: Sequence[int] = (), blocks_used: int = 0) -> Step:
        """Start `work` as soon as its first stage is free; InputError for an impossible cost.

        A decoding request that is granted several tokens at once rides along in the next steps.
        """
        with self.clock.held():
            past = [served.computed for served, _ in work]
            filling = [not served.is_decoding for served, _ in work]
            batch, riders = self._batch(work), self.riders.count
            start_ns, end_ns = self._pass(batch)
            for served, count in work:
                if count > 1 and served.is_decoding and self._speculation is None:
                    self.riders.join(served.computed, count)
            self.riders.advance()
            tokens = [served.take(count, self._rejected(served, count)) for served, count in work]
            joined = zip(filling, work, tokens, strict=True)
            if any(
                was and served.is_decoding and said[-1] != END for was, (served, _), said in joined
            ):
                self._group = []  # it changes, even if who joins is preempted before the next step
        self.step_ns = end_ns - start_ns
        if any(said and said[-1] == END for said in tokens):
            self._last_end_ns = end_ns
        return Step(start_ns, end_ns, work, past, tokens, batch, riders, preempted, blocks_used)

    def coast(self, next_arrival_ns: int | None, blocks_used: int) -> list[Step]:
        """Steps in which those who ride are alone, as long as the engine could decide nothing.

        It could when one of them rides no more, when somebody arrives, and when it learns that a
        request has ended, of which an engine that schedules ahead knows nothing yet.
        """
        until_ns = [] if next_arrival_ns is None else [next_arrival_ns]
        if self._last_end_ns > self.clock.now_ns():
            until_ns.append(self._last_end_ns)
        steps: list[Step] = []
        for _ in range(self.riders.steps_left):
            steps.append(self.run((), blocks_used=blocks_used))
            if any(ns <= steps[-1].end_ns for ns in until_ns):
                break
        return steps

    def again(self, step: Step, blocks_used: int) -> Step:
        """The step behind one that decodes, of the same requests, who ride along."""
        (group,) = step.batch.groups
        batch = Batch((group._replace(context_sum=group.context_sum + group.sequences),))
        start_ns, end_ns = self._pass(batch)
        return Step(start_ns, end_ns, (), (), (), batch, group.sequences, (), blocks_used)

    def _pass(self, batch: Batch) -> tuple[int, int]:
        """When the first stage begins with a batch, and when the last is done with it."""
        start_ns = done_ns = max(self.clock.now_ns(), self._free_ns[0])
        for stage, cost in enumerate(self._stages):
            begun_ns = max(done_ns, self._free_ns[stage])
            done_ns = self._free_ns[stage] = self.clock.end_ns(begun_ns, cost.step(batch))
        return start_ns, done_ns

    def _batch(self, work: Work) -> Batch:
        decoding = [served for served, _ in work if served.is_decoding]
        groups: list[Group] = []
        sequences = len(decoding) + self.riders.count
        if self._speculation is not None:
            groups += self._verified(work)
        elif sequences:
            context_sum = sum([served.computed for served in decoding]) + self.riders.context_sum
            groups.append(Group(1, sequences, context_sum, self._spread_of(decoding), True))
        else:
            self._group = []
        if len(decoding) < len(work):
            groups += [
                Group(count, 1, served.computed) for served, count in work if not served.is_decoding
            ]
        return Batch(tuple(groups))

    def _verified(self, work: Work) -> list[Group]:
        """The decoding requests, one group for each number of drafts."""
        contexts: defaultdict[int, list[int]] = defaultdict(list)
        for served, count in work:
            if served.is_decoding:
                contexts[count].append(served.computed)
        return [
            Group(count, len(cached), sum(cached), self._cost.spread(cached), True)
            for count, cached in sorted(contexts.items())
        ]

    def _rejected(self, served: Served, count: int) -> int:
        """How many of the drafts in a step's `count` tokens the target does not confirm."""
        if self._speculation is None:
            return 0
        drafts, request = served.beyond(count), served.request
        if not served.is_decoding:
            return drafts  # padding of one that begins again: nobody drafted for it
        return drafts - min(drafts, self._speculation.accepted(request.index, request.emitted))

    def _spread_of(self, decoding: list[Served]) -> int:
        """The bucket of unequal contexts, taken when the decode group last changed."""
        if self._cost.needs_spread and decoding != self._group:
            self._spread = self._cost.spread([served.computed for served in decoding])
            self._group = decoding
        return self._spread
