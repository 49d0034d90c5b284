"""A second, naive implementation of the engine: one step at a time, one request at a time.

It shares nothing with the simulator but the step cost, walks vLLM's scheduling loop as the engine
writes it, and is what the simulator must equal to the nanosecond.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from servecast.primitives.batch import Batch, Group
from servecast.primitives.step_cost import StepCost
from servecast.simulator.scheduler import SchedulerLimits
from tests.reference_cache import Block, ReferenceCache


@dataclass
class Seq:
    index: int
    arrival_ns: int
    prompt: int
    output: int
    known: tuple[tuple[int, int], ...] = ()
    computed: int = 0
    emitted: int = 0
    blocks: list[Block] = field(default_factory=list[Block])
    decoding: bool = False
    preemptions: int = 0
    cached: int = 0
    first_ns: int = -1
    finish_ns: int = -1

    @property
    def tokens(self) -> int:
        return self.prompt + self.emitted

    def names(self, blocks: int) -> list[int]:
        """The ids of its first blocks: those known, then its own."""
        ids = [each for first, length in self.known for each in range(first, first + length)]
        own = range(-1 - self.index * 10_000, -1 - self.index * 10_000 - blocks, -1)
        return [*ids, *own][:blocks]


def blocks_for(tokens: int, limits: SchedulerLimits) -> int:
    return (tokens + limits.block_size - 1) // limits.block_size


class ReferenceEngine:
    """Runs a whole workload; `batches` lists what every step computed, `gaps` every ITL."""

    def __init__(self, limits: SchedulerLimits, cost: StepCost) -> None:
        self.limits, self.cost = limits, cost
        self.cache = ReferenceCache(limits.num_blocks)
        self.waiting: list[Seq] = []
        self.running: list[Seq] = []
        self.batches: list[list[tuple[int, int, int]]] = []
        self.gaps: list[int] = []
        self.spread: int | None = None  # of the decode group as it is, taken when it last changed

    def schedule(self) -> list[tuple[Seq, int]]:
        budget, preempted, i = self.limits.max_num_batched_tokens, False, 0
        scheduled: list[tuple[Seq, int]] = []
        while i < len(self.running) and budget > 0:
            seq = self.running[i]
            new = min(seq.tokens - seq.computed, budget)
            need = blocks_for(seq.computed + new, self.limits) - len(seq.blocks)
            while need > self.cache.free:
                victim = self.running.pop()
                self.cache.give_back(victim.blocks)
                victim.blocks, victim.computed = [], 0
                victim.preemptions += 1
                if victim.decoding:
                    self.spread = None
                victim.decoding = False
                self.waiting.insert(0, victim)
                preempted = True
                if victim is seq:
                    break
            if seq not in self.running:
                break
            self.allocate(seq, new)
            scheduled.append((seq, new))
            budget -= new
            i += 1
        if not preempted:
            self.admit(scheduled, budget)
        return scheduled

    def admit(self, scheduled: list[tuple[Seq, int]], budget: int) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_num_seqs:
            seq = self.waiting[0]
            found = self.find(seq)
            unheld = sum(not block.holders for block in found)
            if blocks_for(seq.tokens, self.limits) - len(found) + unheld > self.cache.free:
                break
            self.cache.hold(found)
            seq.blocks, seq.computed = found, len(found) * self.limits.block_size
            if not seq.preemptions:
                seq.cached = seq.computed
            new = min(seq.tokens - seq.computed, budget)
            self.allocate(seq, new)
            self.running.append(self.waiting.pop(0))
            scheduled.append((seq, new))
            budget -= new

    def find(self, seq: Seq) -> list[Block]:
        if not self.limits.enable_prefix_caching:
            return []
        return self.cache.find(seq.names((seq.tokens - 1) // self.limits.block_size))

    def allocate(self, seq: Seq, new: int) -> None:
        need = blocks_for(seq.computed + new, self.limits) - len(seq.blocks)
        seq.blocks += self.cache.allocate(need)
        if self.limits.enable_prefix_caching:
            full = (seq.computed + new) // self.limits.block_size
            self.cache.cache(seq.blocks[:full], seq.names(full))

    def step_ns(self, scheduled: list[tuple[Seq, int]]) -> int:
        decodes = [seq for seq, _ in scheduled if seq.decoding]
        groups = [Group(new, 1, seq.computed) for seq, new in scheduled if not seq.decoding]
        if decodes:
            contexts = [seq.computed for seq in decodes]
            if self.spread is None:
                self.spread = self.cost.spread(contexts)
            groups.insert(0, Group(1, len(decodes), sum(contexts), self.spread, True))
        return sum(self.cost.step(Batch(tuple(groups))))

    def run(self, arrivals: list[Seq]) -> list[Seq]:
        now, pending = 0, sorted(arrivals, key=lambda s: (s.arrival_ns, s.index))
        last: dict[int, int] = {}
        while pending or self.waiting or self.running:
            if not self.waiting and not self.running:
                now = max(now, pending[0].arrival_ns)
            while pending and pending[0].arrival_ns <= now:
                self.waiting.append(pending.pop(0))
            scheduled = self.schedule()
            self.batches.append([(seq.index, new, seq.computed) for seq, new in scheduled])
            now += self.step_ns(scheduled)
            for seq, new in scheduled:
                seq.computed += new
                if seq.computed < seq.tokens:
                    continue
                seq.emitted += 1
                if seq.decoding == (seq.emitted == seq.output):  # it leaves the group, or joins it
                    self.spread = None
                seq.decoding = True
                if seq.emitted == 1:
                    seq.first_ns = now
                else:
                    self.gaps.append(now - last[seq.index])
                last[seq.index] = now
                if seq.emitted == seq.output:
                    seq.finish_ns = now
                    self.cache.give_back(seq.blocks)
                    self.running.remove(seq)
        return arrivals
