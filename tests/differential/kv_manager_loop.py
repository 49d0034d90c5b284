"""A scheduler in little, over two KV cache managers at once."""

from __future__ import annotations

from collections import deque

from tests.differential.kv_managers import Both, Served


class Loop:
    """vLLM's order of things in little: those who run, then those who wait, then the outcome."""

    def __init__(self, both: Both) -> None:
        self.both = both
        self.running: list[Served] = []
        scenario = both.scenario
        self.waiting = deque(
            both.serve(index, letters, tail, output)
            for index, ((letters, tail), output) in enumerate(
                zip(scenario.prompts, scenario.outputs, strict=True)
            )
        )
        self.steps: deque[dict[Served, int]] = deque()
        self.hits = 0

    def run(self) -> None:
        """Until nobody is left."""
        for _ in range(2000):
            if not (self.running or self.waiting):
                return
            self.steps.append(self.schedule())
            under_way = self.both.scenario.lag if self.steps[-1] else 0
            while len(self.steps) > under_way:
                self.take_in(self.steps.popleft())
        raise AssertionError("nobody comes forward")

    def schedule(self) -> dict[Served, int]:
        self.both.new_step_starts()
        step: dict[Served, int] = {}
        waited = len(self.waiting)
        for served in list(self.running):
            new = min(served.open_tokens, self.both.scenario.budget - sum(step.values()))
            if served not in self.running or new <= 0:
                continue
            new = self.both.split(served, new)
            if new and self._has_room(served, new):
                step[served] = new
        if len(self.waiting) == waited:
            self._admit(step)
        for served, new in step.items():
            served.set_computed(served.ours.num_computed_tokens + new)
            served.add_in_flight(new)
            if not served.open_tokens:
                served.under_way += 1
        return step

    def _has_room(self, served: Served, new: int) -> bool:
        while not self.both.extend(served, new):
            victim = self.running.pop()
            self.both.free(victim)
            victim.set_computed(0)
            victim.under_way = 0
            victim.is_stale = victim.ours.num_in_flight_tokens > 0
            self.waiting.appendleft(victim)
            if victim is served:
                return False
        return True

    def _admit(self, step: dict[Served, int]) -> None:
        scenario = self.both.scenario
        while self.waiting and len(self.running) < scenario.most_running:
            budget = scenario.budget - sum(step.values())
            served = self.waiting[0]
            if budget <= 0 or served.is_stale:
                return
            new = self.both.admit(served, budget)
            if not new:
                return
            self.hits += served.ours.num_computed_tokens > 0
            self.running.append(self.waiting.popleft())
            step[served] = new

    def take_in(self, step: dict[Served, int]) -> None:
        for served, new in step.items():
            served.add_in_flight(-new)
            if served.is_stale:
                served.is_stale = served.ours.num_in_flight_tokens > 0
            elif served.under_way and not served.has_ended:
                served.under_way -= 1
                served.say()
                self.both.cache(served)
            if served.said >= served.output_tokens and not served.has_ended:
                served.has_ended = True
                self.running.remove(served)
                self.both.free(served)
