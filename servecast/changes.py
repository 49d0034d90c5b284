"""The section `changes` of a scenario: what starts and stops replicas while they serve."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from servecast.errors import nearest
from servecast.faults import fault, shown
from servecast.fields import Count, Section
from servecast.plain import mapping
from servecast.primitives.deployment import Deployment
from servecast.simulator.fleet.autoscaler import Autoscaler, Signal
from servecast.simulator.fleet.change import Change
from servecast.simulator.fleet.outages import Outage, RandomOutages
from servecast.simulator.fleet.rollout import Rollout
from servecast.traffic import Positive, Seconds


class ChangeSection(Section):
    """What every change states: its kind, and the pool where there are several."""

    pool: str | None = None


class PlainChange(ChangeSection):
    """A change that is complete without another deployment."""

    @abstractmethod
    def value(self, pool: str) -> Change:
        """The change of that pool."""


class AutoscalerSection(PlainChange):
    """Replicas by a signal, as Kubernetes' HorizontalPodAutoscaler has them."""

    kind: Literal["autoscaler"]
    signal: Signal
    target: Positive
    """A share of the places (utilisation), waiting requests a replica (queue), seconds (ttft)."""
    most: Count
    least: Count = 1
    start_up: Seconds
    """From the decision until the new replica takes requests: its warm-up included."""
    interval: Seconds = 15.0
    patience: Seconds = 300.0

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.least > self.most:
            raise fault(f"wants at least {self.least} replicas and at most {self.most}")
        if self.signal == "utilisation" and self.target > 1:
            raise fault(f"wants a share of {self.target:g} of the places", "write `target: 0.7`")
        if self.interval <= 0:
            raise fault("looks at its signal in no time at all", "write `interval: 15s`")
        return self

    def value(self, pool: str) -> Change:
        """The autoscaler of that pool."""
        return Autoscaler(
            pool,
            self.signal,
            self.target,
            self.most,
            self.least,
            _ns(self.start_up),
            _ns(self.interval),
            _ns(self.patience),
        )


class OutageSection(PlainChange):
    """A failure at a stated time."""

    kind: Literal["outage"]
    at: Seconds
    down: Seconds
    """Until its successor takes requests."""
    replicas: Count = 1

    def value(self, pool: str) -> Change:
        """The outage of that pool."""
        return Outage(pool, _ns(self.at), _ns(self.down), self.replicas)


class RandomOutagesSection(PlainChange):
    """Failures of each replica at exponential intervals."""

    kind: Literal["random_outages"]
    mean_between: Seconds
    down: Seconds
    seed: Annotated[int, Field(strict=True, ge=0)] = 0

    @model_validator(mode="after")
    def _mean(self) -> Self:
        if self.mean_between <= 0:
            raise fault(
                "fails without end", "state the mean time between two failures of a replica"
            )
        return self

    def value(self, pool: str) -> Change:
        """The outages of that pool."""
        return RandomOutages(pool, _ns(self.mean_between), _ns(self.down), self.seed)


class RolloutSection(ChangeSection):
    """Another configuration, replica by replica."""

    kind: Literal["rollout"]
    at: Seconds
    start_up: Seconds
    surge: Annotated[int, Field(strict=True, ge=0)] = 1
    deployment: dict[str, object]
    """What the new replicas have otherwise than the old ones."""

    @model_validator(mode="after")
    def _of_replicas(self) -> Self:
        for name in ("replicas", "routing", "routing_options", "gateway"):
            if name in self.deployment:
                raise fault(f"`{name}` is of the pool and no rollout changes it")
        return self

    def value(self, pool: str, deployment: Deployment) -> Change:
        """The rollout of that pool to a deployment."""
        return Rollout(pool, deployment, _ns(self.at), _ns(self.start_up), self.surge)


KINDS = ("autoscaler", "outage", "random_outages", "rollout")


def _stated(value: object) -> object:
    return (mapping(value) or {}).get("kind", getattr(value, "kind", None))


def _kind_of(value: object) -> str:
    return f"<{_stated(value)}>"


def _known_kind(value: object) -> object:
    kind = _stated(value)
    if kind not in KINDS:
        near = nearest(str(kind), KINDS)
        said = "states no `kind`" if kind is None else f"`kind` {shown(kind)} is unknown"
        raise fault(said, f"did you mean `{near}`?" if near else f"known: {', '.join(KINDS)}")
    return value


AnyChange = Annotated[
    Annotated[AutoscalerSection, Tag("<autoscaler>")]
    | Annotated[OutageSection, Tag("<outage>")]
    | Annotated[RandomOutagesSection, Tag("<random_outages>")]
    | Annotated[RolloutSection, Tag("<rollout>")],
    Discriminator(_kind_of),
    BeforeValidator(_known_kind),
]


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
