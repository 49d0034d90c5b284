"""How a step of transformers passes: computed, priced, or as it was in another run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from servecast.errors import InputError
from servecast.primitives.step_cost import StepCost
from servecast.timewarp.clock import VirtualClock, duration_ns
from servecast.timewarp.transformers_steps import Part, Step, batch_of


class Execution(Protocol):
    """Lets a step pass on its clock; the loop asks once a step."""

    clock: VirtualClock

    def run(self, parts: Sequence[Part], forward: Callable[[], None]) -> int:
        """Let the step pass, `forward` being the model's part of it; the device's nanoseconds."""
        ...


class Computed:
    """The model computes, on the CPU; time is what the engine's thread burns.

    Idle time is jumped over, and what other programs do to this thread's share of the machine does
    not count, as it would with the wall clock.
    """

    def __init__(self) -> None:
        self.clock = VirtualClock(scale=1.0)

    def run(self, parts: Sequence[Part], forward: Callable[[], None]) -> int:
        """Compute it."""
        start_ns = self.clock.now_ns()
        forward()
        return self.clock.now_ns() - start_ns


class Priced:
    """No model: the clock jumps by what the step costs."""

    def __init__(self, cost: StepCost, clock: VirtualClock | None = None) -> None:
        """Frozen where no `clock` is given: the loop's own work is then the cost's host time."""
        self.clock = clock or VirtualClock()
        self._cost = cost

    def run(self, parts: Sequence[Part], forward: Callable[[], None]) -> int:
        """Jump; InputError where the cost is no duration."""
        step = self._cost.step(batch_of(parts, self._cost.spread))
        self.clock.jump_to(self.clock.end_ns(self.clock.now_ns(), step))
        return step.device_ns


class Replayed:
    """No model: each step takes what it took in another run of the same requests."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.clock = VirtualClock()
        self._durations_ns = durations_ns(steps)
        self._taken = 0

    def run(self, parts: Sequence[Part], forward: Callable[[], None]) -> int:
        """Jump; InputError where there are more steps than there were."""
        if self._taken == len(self._durations_ns):
            raise InputError(
                f"the replayed run had {self._taken} steps, and this one has more",
                hint="replay it with the same requests and options",
            )
        took_ns = duration_ns(self._durations_ns[self._taken], "a step of the replayed run")
        self._taken += 1
        self.clock.sleep(took_ns)
        return took_ns


def durations_ns(steps: Sequence[Step]) -> list[int]:
    """How long each step held the loop: until it looked into its queue for the next one.

    Before an idle time that is unknown, and the step ends with its tokens.
    """
    durations: list[int] = []
    for place, step in enumerate(steps):
        following = steps[place + 1] if place + 1 < len(steps) else None
        is_idle = following is None or following.after_idle
        end_ns = step.end_ns if following is None or is_idle else following.start_ns
        durations.append(end_ns - step.start_ns)
    return durations
