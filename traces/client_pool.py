"""Pools of clients: many senders, each with its own rate, bursts and lengths, in one workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.traces.arrivals import StationaryProcess, times_within_ns
from servecast.traces.quantities import NS_PER_S
from servecast.traces.reshape import require_rate, taken
from servecast.traces.workload import Ints, Workload

_MOST_REQUESTS = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class LengthHistogram:
    """Token counts in bins from `low` up to `high`, all counts of a bin alike likely."""

    low: Ints
    high: Ints
    probability: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not (self.low < self.high).all() or not self.probability.sum() > 0:
            raise InputError(
                "a histogram of lengths needs bins that end above where they begin, and a chance "
                "above 0 for one of them"
            )

    def draw(self, requests: int, rng: np.random.Generator) -> Ints:
        """Token counts of so many requests, at least 1."""
        bins = rng.choice(len(self.low), requests, p=self.probability / self.probability.sum())
        return np.maximum(1, rng.integers(self.low[bins], self.high[bins]))


@dataclass(frozen=True, slots=True)
class PoolClient:
    """One sender. Where its lengths are not known it sends what the others of its pool do."""

    rate_per_s: float
    arrivals: StationaryProcess
    lengths: tuple[LengthHistogram, LengthHistogram] | None
    """Of inputs and of outputs, drawn apart: how they go together is not published."""


@dataclass(frozen=True, slots=True)
class ClientPool:
    """Clients that send to one model, some of whose lengths are known."""

    name: str
    clients: Sequence[PoolClient]
    attribution: str = ""

    @property
    def rate_per_s(self) -> float:
        """Of all clients together, as published."""
        return sum(client.rate_per_s for client in self.clients)

    def synthesize(self, rate_per_s: float, span_s: float, seed: int = 0) -> Workload:
        """What the clients send in `span_s`, their rates scaled so that they sum to `rate_per_s`.

        The rate is met in expectation, and what comes of it is as uneven as the clients are. Each
        of them has a random stream of its own.
        """
        require_rate(rate_per_s)
        _require_requests(rate_per_s, span_s)
        scale, span_ns = rate_per_s / self.rate_per_s, round(span_s * NS_PER_S)
        substitutes = _Substitutes(self.clients)
        times: list[Ints] = []
        lengths: list[tuple[Ints, Ints]] = []
        streams = np.random.SeedSequence(seed).spawn(len(self.clients))
        for client, stream in zip(self.clients, streams, strict=True):
            arrivals, drawn = (np.random.default_rng(child) for child in stream.spawn(2))
            at_ns = times_within_ns(client.arrivals, client.rate_per_s * scale, span_ns, arrivals)
            times.append(at_ns)
            lengths.append(substitutes.draw(client, len(at_ns), drawn))
        return self._workload(times, lengths)

    def _workload(self, times: Sequence[Ints], lengths: Sequence[tuple[Ints, Ints]]) -> Workload:
        arrival_ns = np.concatenate(times)
        if not len(arrival_ns):
            raise InputError(
                f"the clients of `{self.name}` send nothing in that span", hint="make it longer"
            )
        outputs = np.concatenate([output for _, output in lengths])
        together = Workload(
            name=self.name,
            arrival_ns=arrival_ns - arrival_ns.min(),
            prompt_tokens=np.concatenate([prompt for prompt, _ in lengths]),
            output_tokens=outputs,
            max_tokens=np.full_like(outputs, outputs.max()),
            attribution=self.attribution,
        )
        return taken(together, np.argsort(together.arrival_ns, kind="stable"))


class _Substitutes:
    """Draws lengths: a client's own, or those of the others, each as often as it sends."""

    def __init__(self, clients: Sequence[PoolClient]) -> None:
        """InputError where no client's lengths are known."""
        known = [client for client in clients if client.lengths is not None]
        self._lengths = [client.lengths for client in known if client.lengths is not None]
        if not known:
            raise InputError(
                "of no client of the pool both input and output lengths are known",
                hint="take a pool of a language or a reasoning model",
            )
        rates = np.array([client.rate_per_s for client in known])
        self._share = rates / rates.sum()

    def draw(
        self, client: PoolClient, requests: int, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Inputs and outputs of so many requests of the client."""
        if client.lengths is not None:
            prompt, output = client.lengths
            return prompt.draw(requests, rng), output.draw(requests, rng)
        sender = rng.choice(len(self._share), requests, p=self._share)
        prompts, outputs = np.empty(requests, np.int64), np.empty(requests, np.int64)
        senders: list[int] = np.unique(sender).tolist()
        for each in senders:
            places = np.flatnonzero(sender == each)
            prompt, output = self._lengths[each]
            prompts[places] = prompt.draw(len(places), rng)
            outputs[places] = output.draw(len(places), rng)
        return prompts, outputs


def _require_requests(rate_per_s: float, span_s: float) -> None:
    requests = rate_per_s * span_s
    if not 1 <= requests <= _MOST_REQUESTS:
        raise InputError(
            f"{rate_per_s:g}/s for {span_s:g} s are {requests:g} requests, and must be from 1 to "
            f"{_MOST_REQUESTS}",
            hint="for example a span of 10min",
        )
