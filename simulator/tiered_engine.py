"""One replica of vLLM in virtual time, with a tier of KV blocks in host memory."""

from __future__ import annotations

from servecast.primitives.deployment import KvLoads
from servecast.primitives.host_kv import HostKv
from servecast.primitives.step_cost import StepCost
from servecast.simulator.engine import Engine
from servecast.simulator.host_tier import HostTier
from servecast.simulator.host_transfers import HostTransfers
from servecast.simulator.link import Link
from servecast.simulator.load_rule import LoadIfFaster, LoadRule
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.tier_use import TierUse
from servecast.simulator.vllm_tiered_scheduler import VllmTieredScheduler


class TieredEngine(Engine):
    """An engine that asks after its transfers when a step begins, and hears of it when that ends.

    While nobody can compute, it waits for a transfer or an arrival and asks all the time.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        cost: StepCost,
        transfers: HostTransfers,
        replica: int = 0,
        *,
        pays: LoadRule | None = None,
        stepping: bool = False,
    ) -> None:
        """As `Engine` has it; `transfers` and `pays` are as in `VllmTieredScheduler`."""
        scheduler = VllmTieredScheduler(limits, transfers, pays)
        super().__init__(limits, cost, replica, policy=lambda _: scheduler, stepping=stepping)
        self.transfers = transfers
        self._tiered = scheduler
        self._polled_ns = 0
        self._waits = False

    @property
    def tier_use(self) -> TierUse:
        """What it has moved."""
        moved = self.transfers
        return TierUse(moved.to_gpu.moved_bytes, moved.to_host.moved_bytes)

    def submit(self, request: Request, now_ns: int) -> None:
        """Queue `request` at `now_ns`, which no later call may precede."""
        if self._waits:
            self._waits = self._planned = False
            self._polled_ns = now_ns
        elif not self.unfinished and now_ns > self.now_ns:
            self._polled_ns = now_ns
        super().submit(request, now_ns)

    def check(self) -> None:
        """Raise if a request or a block of either tier is lost or doubled."""
        super().check()
        self.transfers.tier.check()

    def _plan(self) -> bool:
        self._tiered.begin(self.now_ns, self._polled_ns)
        return super()._plan()

    def _plan_step(self, chunks: list[Chunk], *, is_alone: bool) -> None:
        if chunks or self.scheduler.group.size:
            super()._plan_step(chunks, is_alone=is_alone)
            return
        self._tiered.computed(self.now_ns)  # an empty step takes no time
        due_ns = self.now_ns if is_alone else self._tiered.next_ns()
        if due_ns is None:
            raise AssertionError("nobody computes and nothing is under way: it would never end")
        self._planned = self._waits = True
        self._end_ns = max(self.now_ns, due_ns)

    def _plan_decode_run(self, one_step: bool) -> None:
        super()._plan_decode_run(one_step)
        due_ns = self._tiered.next_ns()
        if due_ns is not None:  # the step after that which begins then
            self._cut(due_ns, ahead=int(due_ns > self._start_ns))

    def _commit(self) -> None:
        if self._waits:
            self._waits = self._planned = False
            self.now_ns = self._polled_ns = self._end_ns
            return
        began_ns, first_end_ns = self._last_step_ns(), self._end_ns
        if self._run is not None:
            first_end_ns = self._start_ns + self._run.run_ns(self._context, 1)
        super()._commit()
        self._polled_ns = began_ns
        self._tiered.computed(first_end_ns)
        if not self.unfinished:
            self._tiered.rest(self.now_ns, began_ns)


def tiered_engine(
    limits: SchedulerLimits, cost: StepCost, host: HostKv, replica: int, *, loads: KvLoads
) -> TieredEngine:
    """A replica with such a tier, from which the least recently used blocks go."""
    to_host = Link(host.to_host_block_ns, host.block_bytes)
    to_gpu = Link(host.to_gpu_block_ns, host.block_bytes)
    moved = HostTransfers(HostTier(host.blocks), to_host, to_gpu)
    pays = LoadIfFaster(limits, cost) if loads == "if_faster" else None
    return TieredEngine(limits, cost, moved, replica, pays=pays)
