"""A replica of data-parallel vLLM ranks that share one set of experts, in virtual time."""

from __future__ import annotations

from math import inf

from servecast.primitives.batch import Batch
from servecast.primitives.wave_cost import WaveCost
from servecast.simulator.rank_balancer import RankBalancer
from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.wave_log import WaveLog
from servecast.simulator.wave_rank import Moment, Stop, WaveRank

_DUMMY = Batch(())


class WaveEngine:
    """Ranks that take every step together, as their experts' exchanges make them.

    A wave begins with a request and ends when all ranks agree, every sixteenth step, that none has
    any left; until then who has nothing to compute runs dummies. A rank's loop goes on when all
    have launched a step; so one without requests decides about the next step while this one
    computes, and sees who comes meanwhile one step later than a busy rank does.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        cost: WaveCost,
        ranks: int,
        replica: int = 0,
        *,
        options: SteppedOptions,
    ) -> None:
        """`limits` are those of each rank."""
        self.number = replica
        self.log = WaveLog()
        self.recorder = Recorder(replica)
        self.finished: list[Request] = []
        """Requests finished since the driver last took them."""
        self.now_ns = 0
        """The latest that any rank has got to."""
        self.ranks = [
            WaveRank(limits, cost.rank, options, self.log, self.recorder) for _ in range(ranks)
        ]
        self._limits = limits
        self._cost = cost
        self._balancer = RankBalancer()
        self._launches_ahead = options.async_scheduling
        self._engines_running = False
        """What the front end knows of the wave."""
        self._device_free_ns = 0
        self._known_ns = 0
        """Who arrives before it has been submitted."""

    @property
    def unfinished(self) -> int:
        """Requests that it has still to do with."""
        return self.outstanding

    @property
    def outstanding(self) -> int:
        """Requests whose last token is not out yet."""
        return sum(rank.outstanding for rank in self.ranks)

    @property
    def waiting(self) -> int:
        """Requests in its queues that nothing is computed of, or nothing is left of."""
        return sum(rank.waiting for rank in self.ranks)

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        return len(self.ranks) * self._limits.max_num_seqs

    @property
    def peak_blocks(self) -> int:
        """The most KV blocks that a rank's requests held."""
        return max(rank.peak_blocks for rank in self.ranks)

    def kv_used(self, now_ns: int) -> float:
        """Share of all ranks' KV blocks that requests hold at `now_ns`."""
        return sum(rank.kv_used(now_ns) for rank in self.ranks) / len(self.ranks)

    def submit(self, request: Request, now_ns: int) -> None:
        """Send `request` to a rank at `now_ns`, which no later call may precede."""
        self._known_ns = max(self._known_ns, now_ns)
        chosen = self.ranks[self._balancer.get_core_engine_for_request(self.ranks, now_ns)]
        chosen.receive(request, now_ns)
        if not self._engines_running:
            self._start_wave(chosen, now_ns)

    def next_ns(self) -> int | None:
        """When a rank waits for its step to end, or looks again; None when all are idle."""
        while (found := self._next_rank()) is not None:
            moment, rank = found
            if not moment.looks or moment.at_ns > self._known_ns:
                return moment.at_ns
            self._go_on(moment, rank)
        return None

    def advance(self, until_ns: int | None, *, to_finish: bool = False) -> None:
        """Take in every step that ends at or before `until_ns` (None: until all are idle).

        With `to_finish` none after what ends while `finished` is not empty.
        """
        until = inf if until_ns is None else until_ns
        while (found := self._next_rank()) is not None:
            moment, rank = found
            if moment.at_ns > until or (moment.looks and moment.at_ns == until):
                break
            if to_finish and self.finished and (moment.looks or moment.at_ns > self.now_ns):
                return
            self._go_on(moment, rank)
        if until_ns is not None:
            self._known_ns = max(self._known_ns, until_ns)

    def _next_rank(self) -> tuple[Moment, WaveRank] | None:
        """Whose loop goes on first, and when; None where all are idle."""
        while True:
            first: tuple[Moment, WaveRank] | None = None
            for rank in self.ranks:
                wait = rank.wait
                if isinstance(wait, Moment) and (first is None or wait < first[0]):
                    first = wait, rank
            if first is not None:
                return first
            if self.ranks[0].wait is Stop.LAUNCH:
                self._launch()
            elif self.ranks[0].wait is Stop.SYNC:
                self._sync_dp_state()
            else:
                return None

    def _go_on(self, moment: Moment, rank: WaveRank) -> None:
        self.now_ns = max(self.now_ns, moment.at_ns)
        rank.go_on()
        if rank.finished:
            self.finished += rank.finished
            rank.finished.clear()
        if rank.has_requests and not self._engines_running:  # who came as the last wave ended
            self._start_wave(rank, rank.now_ns)

    def _start_wave(self, woken: WaveRank, now_ns: int) -> None:
        """Tell all ranks but the one that knows already."""
        self._engines_running = True
        for rank in self.ranks:
            if rank is not woken:
                rank.receive(None, now_ns)

    def _launch(self) -> None:
        """All ranks have launched the next step: on the device it follows the one before."""
        ranks = self.ranks
        gathered_ns = max(rank.now_ns for rank in ranks)
        launched = [rank.launched for rank in ranks]
        batches = [_DUMMY if step is None else step.batch for step in launched]
        device_ns, host_ns = self._cost.step(batches)
        start_ns = max(gathered_ns, self._device_free_ns)
        end_ns = self._device_free_ns = start_ns + device_ns + host_ns
        self.log.begin_step(start_ns, end_ns, [batch for batch in batches if batch.groups])
        for rank in ranks:
            rank.launch(start_ns, end_ns, gathered_ns if self._launches_ahead else start_ns)

    def _sync_dp_state(self) -> None:
        """All ranks have said whether they have requests left."""
        ranks = self.ranks
        now_ns = max(rank.now_ns for rank in ranks)
        self._engines_running = any(rank.has_unfinished for rank in ranks)
        for rank in ranks:
            rank.agree(now_ns, engines_running=self._engines_running)
