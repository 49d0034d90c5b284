"""The estimate rung: a closed form for every feasible deployment at once.

A replica that decodes n sequences and computes prompts at rate λ beside them spends, in time t,
N·D(n) on N decode steps and λ·t·x(n) on prompts, D the decode step and x what one prompt adds to
the steps that carry its chunks. So TPOT = D / (1 - λx), and with Little's law n = λ·(OSL-1)·TPOT:

    λ(n) = n / ((OSL - 1)·D(n) + n·x(n))

The largest λ over the n that sequences and KV blocks allow is the capacity. Waiting is added on
top: for the running step, for prompts in front (M/G/1, Pollaczek-Khinchine), and for a place among
n_max (Sakasegawa's approximation of M/G/c). D and x come from the compiled step cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, Group
from servecast.primitives.step_cost import CompiledStepCost
from servecast.search.traffic import Floats, Traffic


@dataclass(frozen=True, slots=True)
class Limits:
    """What distinguishes the deployments of one step cost and token budget, as columns."""

    max_num_seqs: NDArray[np.int64]
    kv_tokens: NDArray[np.int64]
    replicas: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds and rates of each deployment, as columns; infinite latency where it is overloaded."""

    utilisation: Floats
    """Offered over bearable request rate; above 1 is an overload."""
    request_rate: Floats
    """Requests per second served by all replicas."""
    output_rate: Floats
    """Output tokens per second of all replicas."""
    ttft_mean: Floats
    ttft_p95: Floats
    tpot_mean: Floats
    tpot_p95: Floats
    e2e_mean: Floats
    ttft_floor: Floats
    """The p95 prompt's time to first token on an idle replica: no deployment of these is faster."""
    tpot_floor: Floats
    """The decode step of a lone request."""


def estimate(
    cost: CompiledStepCost, max_num_batched_tokens: int, traffic: Traffic, limits: Limits
) -> Estimate:
    """Price all deployments that share a step cost and a token budget."""
    curves = _Curves(cost, max_num_batched_tokens, traffic, int(limits.max_num_seqs.max()))
    load = _load(curves, traffic, limits)
    running, rate = load.running, load.rate
    wait, wait_p95 = curves.prompt_wait(running, rate)
    queue, queue_p95 = _queue(curves, traffic, limits, load)
    served = rate * limits.replicas
    floor = np.ones_like(load.utilisation)
    ttft, tpot = wait + curves.own_prefill(running) + queue, curves.tpot(running, rate)
    return Estimate(
        utilisation=load.utilisation,
        request_rate=served,
        output_rate=served * traffic.output_mean,
        ttft_mean=ttft,
        ttft_p95=wait_p95 + curves.own_prefill_p95(running) + queue_p95,
        tpot_mean=tpot,
        tpot_p95=curves.tpot_p95(running, rate, load.places),
        e2e_mean=ttft + (traffic.output_mean - 1) * tpot,
        ttft_floor=floor * curves.lone_prefill_p95,
        tpot_floor=floor * float(curves.decode_s[0]),
    )


@dataclass(frozen=True, slots=True)
class _Load:
    """What one replica of each deployment carries."""

    places: Floats
    """Sequences that limits and KV blocks let run at once."""
    utilisation: Floats
    rate: Floats
    """Requests per second served."""
    running: Floats
    """Sequences running on average."""


def _load(curves: _Curves, traffic: Traffic, limits: Limits) -> _Load:
    fitting = limits.kv_tokens / traffic.held_mean
    places = np.maximum(np.minimum(limits.max_num_seqs, fitting), 1.0)
    if traffic.concurrency:
        share = traffic.concurrency / limits.replicas
        running = np.minimum(share, places)
        return _Load(places, share / places, np.interp(running, curves.n, curves.rate), running)
    offered = traffic.rate_per_s / limits.replicas
    bearable = np.interp(places, curves.n, curves.rate)
    rate = np.minimum(offered, bearable)
    running = np.minimum(np.interp(rate, curves.rate, curves.n), places)
    return _Load(places, offered / bearable, rate, running)


def _queue(curves: _Curves, traffic: Traffic, limits: Limits, load: _Load) -> tuple[Floats, Floats]:
    """Mean and p95 wait for a place; in a closed loop what Little's law leaves for it."""
    tpot = curves.tpot(load.running, load.rate)
    own = curves.own_prefill(load.running)
    if traffic.concurrency:
        wait, _ = curves.prompt_wait(load.running, load.rate)
        service = own + (traffic.output_mean - 1) * tpot
        cycle = traffic.concurrency / limits.replicas / load.rate
        left = np.maximum(cycle - service - wait, 0.0)
        return left, left
    held = own + traffic.output_mean * tpot
    busy = np.minimum(load.rate * held / load.places, load.utilisation)
    taken = np.where(load.utilisation < 1, busy, 1.0)
    return _place_wait(taken, load.places, held, traffic)


def _place_wait(
    taken: Floats, places: Floats, held_s: Floats, traffic: Traffic
) -> tuple[Floats, Floats]:
    """Mean and p95 wait for one of `places` places held `held_s` each; infinite when overloaded.

    `taken` is the share of the places that are held on average. Below the capacity it is less than
    the utilisation, for a smaller batch is a faster one.
    """
    variability = (traffic.arrival_cv2 + traffic.output_cv2) / 2
    with np.errstate(divide="ignore", over="ignore"):
        waits = taken ** np.sqrt(2 * (places + 1))
        mean = waits * held_s / (places * (1 - taken)) * variability
        conditional = mean / np.maximum(waits, 1e-300)
        p95 = np.maximum(np.log(np.maximum(waits, 1e-300) / 0.05), 0.0) * conditional
    overloaded = taken >= 1
    return np.where(overloaded, np.inf, mean), np.where(overloaded, np.inf, p95)


class _Curves:
    """D(n), x(n) and λ(n) of one step cost and token budget, on a grid of batch sizes."""

    def __init__(
        self, cost: CompiledStepCost, budget: int, traffic: Traffic, max_num_seqs: int
    ) -> None:
        self._traffic = traffic
        context = round(traffic.context_mean)
        grid = np.unique(np.geomspace(1, max_num_seqs, 24).round().astype(np.int64))
        runs = [cost.decode_run(int(n)) for n in grid]
        self.n = grid.astype(np.float64)
        self.decode_s = np.array([run.run_ns(context, 1) for run in runs]) / 1e9
        beside = np.minimum(grid, max_num_seqs - 1)
        lengths = [int(length) for length in traffic.prompts]
        added: Floats = np.array(
            [[_added_s(cost, int(n), budget, p) for p in lengths] for n in beside]
        )
        self._added_mean: Floats = added.mean(axis=1)
        self._added_p95: Floats = added[:, -2:].mean(axis=1)
        room = np.maximum(budget - grid, 1)[:, None]
        steps: Floats = np.ceil(traffic.prompts[None, :] / room)
        self._steps_mean: Floats = steps.mean(axis=1)
        self._steps_p95: Floats = steps[:, -1]
        # In a queue of prompts each takes its share of the steps' token budget, decodes included.
        turn = added + self.decode_s[:, None] * traffic.prompts[None, :] / room
        self._turn_mean: Floats = turn.mean(axis=1)
        self._turn_square: Floats = (turn**2).mean(axis=1)
        gaps = traffic.output_mean - 1
        rate = self.n / (gaps * self.decode_s + self.n * self._added_mean)
        self.rate = np.maximum.accumulate(rate * (1 + 1e-12 * np.arange(len(rate))))
        self.lone_prefill_p95 = float(self._added_p95[0] + self.decode_s[0])

    def tpot(self, running: Floats, rate: Floats) -> Floats:
        """Mean time per output token at `running` sequences and `rate` prompts per second."""
        busy = np.minimum(rate * np.interp(running, self.n, self._added_mean), 0.99)
        return np.asarray(np.interp(running, self.n, self.decode_s) / (1 - busy))

    def tpot_p95(self, running: Floats, rate: Floats, n_max: Floats) -> Floats:
        """TPOT of the requests that met a batch and a prompt load two deviations above the mean.

        Occupancy is near Poisson below saturation, and a request of k tokens sees the prompts of
        its own lifetime: their number is Poisson too.
        """
        crowded = np.minimum(running + 1.65 * np.sqrt(running), n_max)
        life = self._traffic.output_mean * self.tpot(running, rate)
        prompts = np.maximum(rate * life, 1e-9)
        return self.tpot(crowded, rate * (1 + 1.65 / np.sqrt(prompts) * 0.5))

    def prompt_wait(self, running: Floats, rate: Floats) -> tuple[Floats, Floats]:
        """Mean and p95 wait for the running step's end and for the prompts in front."""
        busy = np.minimum(rate * np.interp(running, self.n, self._turn_mean), 0.99)
        queue = rate * np.interp(running, self.n, self._turn_square) / (2 * (1 - busy))
        step = np.interp(running, self.n, self.decode_s)
        return step / 2 + queue, step + 3 * queue

    def own_prefill(self, running: Floats) -> Floats:
        """Steps that carry a request's own prompt, on average."""
        steps = np.interp(running, self.n, self._steps_mean)
        decode = np.interp(running, self.n, self.decode_s)
        return np.asarray(steps * decode + np.interp(running, self.n, self._added_mean))

    def own_prefill_p95(self, running: Floats) -> Floats:
        """The same for the p95 prompt."""
        steps = np.interp(running, self.n, self._steps_p95)
        decode = np.interp(running, self.n, self.decode_s)
        return np.asarray(steps * decode + np.interp(running, self.n, self._added_p95))


def _added_s(cost: CompiledStepCost, running: int, budget: int, prompt: int) -> float:
    """Seconds that a prompt adds to the decode steps of `running` sequences that carry it."""
    room = max(budget - running, 1)
    decoding = (Group(1, running, 0, 0, True),) if running else ()
    alone_ns = sum(cost.step(Batch(decoding))) if running else 0
    added = past = 0
    while past < prompt:
        new = min(room, prompt - past)
        both = Batch((*decoding, Group(new, 1, past)))
        added += sum(cost.step(both)) - alone_ns
        past += new
    return added / 1e9
