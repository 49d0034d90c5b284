"""Naive twins of the schedulers that no engine can be run beside: one request at a time.

Written from the same papers and documentation, on the loop of the reference engine.
"""

from __future__ import annotations

from servecast.primitives.step_cost import StepCost
from servecast.simulator.scheduler import SchedulerLimits
from tests.reference_engine import ReferenceEngine, Seq, blocks_for

Scheduled = list[tuple[Seq, int]]


class ReservingReference(ReferenceEngine):
    """Nobody starts for whom not everything is free; a prompt goes in whole, or in whole units."""

    def __init__(self, limits: SchedulerLimits, cost: StepCost, unit: int | None = None) -> None:
        super().__init__(limits, cost)
        self.unit = unit

    def schedule(self) -> Scheduled:
        scheduled = [(seq, 1) for seq in self.running if seq.decoding]
        for seq, _ in scheduled:
            self.allocate(seq, 1)
        self.add_prompts(scheduled, self.limits.max_num_batched_tokens - len(scheduled))
        return scheduled

    def add_prompts(self, scheduled: Scheduled, room: int) -> None:
        for seq in [seq for seq in self.running if not seq.decoding]:
            room -= self.compute(scheduled, seq, room)
        while self.waiting and self.may_start(self.waiting[0]):
            new = self.compute(scheduled, self.waiting[0], room)
            if not new:
                break
            room -= new
            self.running.append(self.waiting.pop(0))

    def compute(self, scheduled: Scheduled, seq: Seq, room: int) -> int:
        """How much of a prompt the step computes."""
        new = seq.tokens - seq.computed
        if new > room:
            new = room - room % self.unit if self.unit else 0
        if new:
            self.allocate(seq, new)
            scheduled.append((seq, new))
        return new

    def may_start(self, seq: Seq) -> bool:
        if len(self.running) >= self.limits.max_num_seqs:
            return False
        return self.fits_to_the_end([*self.running, seq])

    def fits_to_the_end(self, seqs: list[Seq]) -> bool:
        most = [min(seq.prompt + seq.output, self.limits.max_model_len) for seq in seqs]
        return sum(blocks_for(each, self.limits) for each in most) <= self.limits.num_blocks


class StaticReference(ReservingReference):
    """One batch after the other: all its prompts, then decodes until nobody is left."""

    batch: tuple[Seq, ...] = ()

    def schedule(self) -> Scheduled:
        if all(seq.emitted == seq.output for seq in self.batch):
            self.batch = ()
            for seq in self.waiting[: self.limits.max_num_seqs]:
                if not self.fits_to_the_end([*self.batch, seq]):
                    break
                self.batch += (seq,)
        scheduled: Scheduled = []
        self.add_prompts(scheduled, self.limits.max_num_batched_tokens)
        if not scheduled:
            scheduled = [(seq, 1) for seq in self.running]
            for seq in self.running:
                self.allocate(seq, 1)
        return scheduled

    def may_start(self, seq: Seq) -> bool:
        return seq in self.batch


class PausingReference(ReservingReference):
    """A prompt's blocks are taken as it starts; the last that runs gives way where none is left."""

    def schedule(self) -> Scheduled:
        scheduled: Scheduled = []
        has_paused = False
        for seq in list(self.running):
            if seq not in self.running or not seq.decoding:
                continue
            need = blocks_for(seq.tokens, self.limits) - len(seq.blocks)
            while seq in self.running and need > self.cache.free:
                self.pause(self.running.pop())
                has_paused = True
            if seq in self.running:
                self.allocate(seq, 1)
                scheduled.append((seq, 1))
        room = self.limits.max_num_batched_tokens - len(scheduled)
        waiting = self.waiting
        self.waiting = [] if has_paused else waiting
        self.add_prompts(scheduled, room)
        self.waiting = waiting
        return scheduled

    def pause(self, seq: Seq) -> None:
        self.cache.give_back(seq.blocks)
        seq.blocks, seq.computed = [], 0
        seq.preemptions += 1
        if seq.decoding:
            self.spread = None
        seq.decoding = False
        self.waiting.insert(0, seq)

    def may_start(self, seq: Seq) -> bool:
        has_place = len(self.running) < self.limits.max_num_seqs
        return has_place and blocks_for(seq.tokens, self.limits) <= self.cache.free

    def allocate(self, seq: Seq, new: int) -> None:
        need = blocks_for(seq.tokens, self.limits) - len(seq.blocks)
        seq.blocks += self.cache.allocate(need)
