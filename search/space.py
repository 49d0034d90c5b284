"""The space of deployments that a scenario leaves open, and what is cut from it before pricing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from servecast.errors import ServecastError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.sharding import Sharding, check
from servecast.primitives.stated_pool import StatedPool, stated_pool
from servecast.simulator.unmodelled import refuse_unmodelled

Value = int | float | str
Choice = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Space:
    """Dimensions by name with their values, and how one choice of them becomes a deployment."""

    dimensions: Mapping[str, tuple[Value, ...]]
    build: Callable[[Choice], Deployment]
    gpus: int
    """The budget; deployments that need more are cut."""
    auto_replicas: bool
    """The number of replicas is not a dimension but follows from budget and SLO."""

    @property
    def size(self) -> int:
        """Choices before any cut."""
        size = 1
        for values in self.dimensions.values():
            size *= len(values)
        return size

    def choices(self) -> Iterator[dict[str, Value]]:
        """Every choice, in the order of the file."""
        for values in product(*self.dimensions.values()):
            yield dict(zip(self.dimensions, values, strict=True))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that the engine would start: it is within the budget and fits the memory."""

    choice: Choice
    deployment: Deployment
    memory: Ledger | StatedPool
    max_replicas: int

    def with_replicas(self, replicas: int) -> Deployment:
        """The deployment at another number of replicas."""
        return replace(self.deployment, replicas=replicas)


def key_of(choice: Choice) -> tuple[tuple[str, Value], ...]:
    """A choice as something hashable, whatever the order of its names."""
    return tuple(sorted(choice.items()))


def candidates(space: Space) -> tuple[list[Candidate], Counter[str]]:
    """The choices that can run, and for the others how many fell to which reason."""
    found: list[Candidate] = []
    cut: Counter[str] = Counter()
    for choice in space.choices():
        try:
            deployment = space.build(choice)
            refuse_unsearched(deployment)
            reason = _refusal(space, deployment)
            memory = memory_of(deployment) if reason is None else None
        except ServecastError as error:
            cut[_told(error)] += 1
            continue
        if memory is not None and reason is None:
            reason = memory.shortfall()
        if reason is not None or memory is None:
            cut[reason or ""] += 1
            continue
        fitting = space.gpus // deployment.gpus_per_replica
        most = fitting if space.auto_replicas else deployment.replicas
        found.append(Candidate(choice, deployment, memory, most))
    return found, cut


def memory_of(deployment: Deployment) -> Ledger | StatedPool:
    """What the deployment's memory holds: vLLM's ledger, or the pool that another engine states."""
    return stated_pool(deployment) if deployment.engine == "sglang" else ledger(deployment)


def grouped(cut: Mapping[str, int]) -> list[tuple[int, str]]:
    """Reasons that differ in their figures alone as one, the first of them; the commonest first."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for reason, count in cut.items():
        words = re.sub(r"\d[\d.,]*", "#", reason)
        first.setdefault(words, reason)
        counts[words] += count
    return [(count, first[words]) for words, count in counts.most_common()]


def refuse_unsearched(deployment: Deployment) -> None:
    """Raise UnsupportedError for what is not simulated, or for what no files could start."""
    refuse_unmodelled(deployment)
    for option in ("pipeline_parallel_size", "data_parallel_size"):
        size = getattr(deployment, option)
        if size > 1:
            raise UnsupportedError(
                f"{option} {size} is not searched yet",
                hint="fix every choice and run `servecast simulate`, or set it to 1",
            )
    link, size = deployment.accelerator.link, deployment.tensor_parallel_size
    if size > link.domain:
        raise UnsupportedError(
            f"tensor_parallel_size {size} exceeds the {link.domain} that share a node of "
            f"{deployment.accelerator.name}: files for an engine of several nodes are not written",
            hint=f"set tensor_parallel_size to {link.domain} or less, or `servecast simulate` it",
        )


def _told(error: ServecastError) -> str:
    """An error in one line: its rule and the way out."""
    rule = error.message.splitlines()[0]
    return f"{rule}; {error.hint}" if error.hint else rule


def _refusal(space: Space, deployment: Deployment) -> str | None:
    if deployment.gpus > space.gpus:
        return f"{deployment.gpus} GPUs are more than the budget of {space.gpus}"
    is_bounded = deployment.engine != "sglang"  # its steps compute prompts alone
    if is_bounded and deployment.max_num_batched_tokens < deployment.max_num_seqs:
        return (
            f"max_num_batched_tokens {deployment.max_num_batched_tokens} is below "
            f"max_num_seqs {deployment.max_num_seqs}"
        )
    return check(deployment.model, Sharding.of(deployment))
