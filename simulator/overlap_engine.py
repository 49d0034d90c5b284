"""One replica of SGLang in its loop with overlap, in virtual time."""

from __future__ import annotations

from heapq import heappush

from servecast.errors import ServecastError
from servecast.primitives.step_cost import StepCost
from servecast.simulator.engine import Engine
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler


class OverlapEngine(Engine):
    """An engine whose next step is decided when one begins, before its tokens are read.

    Here it is decided when the step ends, by a scheduler that knows no more than it would have
    known. Whoever is retracted then loses the token of the step: nobody reads it. Where nothing can
    be computed before tokens are read, the next pass follows when they are.
    """

    def __init__(
        self,
        scheduler: SglangOverlapScheduler,
        cost: StepCost,
        replica: int = 0,
        *,
        stepping: bool = False,
    ) -> None:
        """`stepping` is the slow twin that skipping must equal."""
        super().__init__(
            scheduler.limits,
            cost,
            replica,
            policy=lambda _: scheduler,
            schedules_ahead=True,
            stepping=stepping,
        )
        self._overlapping = scheduler
        self._prompts: dict[Request, None] = {}
        """Whose prompt the step that ends completes."""
        self._ended: dict[Request, None] = {}
        """Who has the last token in it, if anybody reads it."""
        self._concerned: list[Request] = []
        """Both, in the order of the batch."""

    def _plan(self) -> bool:
        if self.unfinished:
            self._look(self.now_ns)
            chunks, retracted = self.scheduler.schedule()
            for request in retracted:
                self._note_preemption(request)
            self._begin(chunks, retracted)
            if not self._planned:
                raise ServecastError(f"nobody of {self.unfinished} requests can be computed")
        return self._planned

    def _commit(self) -> None:
        scheduler, blocks = self._overlapping, self.scheduler.blocks
        if self._sequences:
            scheduler.advance(self._steps)
        used, spread = blocks.total - blocks.free, self._spread or 0
        if self._unheard:
            self._spread = None  # who was computed once more has left
        self.now_ns = self._end_ns
        self._planned = False
        self._look(self._last_step_ns())
        self._finish_decoding()
        for chunk in self._chunks:
            self._finish_chunk(chunk)
        self._order_as_batched()
        scheduler.expect(each for each in self._ended if scheduler.has_said_all(each))
        chunks, retracted = scheduler.schedule()
        dropped = self._drop(retracted)
        self._log_run(dropped, used, spread)
        self._begin(chunks, retracted)
        if self._checking:
            self.check()

    def _look(self, moment_ns: int) -> None:
        """Queue those who came at `moment_ns` or before."""
        if self._unseen:
            self._see(self._unseen, moment_ns)

    def _finish(self, request: Request, *, decoding: bool) -> None:
        request.decode_end = 0
        self._spread = None
        self._ended[request] = None

    def _finish_chunk(self, chunk: Chunk) -> None:
        request, group = chunk.request, self.scheduler.group
        if request.scheduled_ns is None:
            request.scheduled_ns = self._start_ns
        if not self._overlapping.update(chunk):
            return
        self._prompts[request] = None
        group.join(request)
        self._spread = None
        if request.emitted == request.output_tokens:
            self._finish(request, decoding=False)
            return
        self._order += 1
        request.decode_end = group.steps + request.output_tokens - request.emitted
        heappush(self._ends, (request.decode_end, self._order, request))

    def _order_as_batched(self) -> None:
        """Tokens are read in the order of the batch: that of the cache's ends is theirs."""
        concerned = self._prompts | self._ended
        if len(concerned) > 1:
            self._concerned = [each for each in self.scheduler.running if each in concerned]
        else:
            self._concerned = list(concerned)

    def _drop(self, retracted: list[Request]) -> int:
        """Take back the step's tokens of those retracted; how many decoded in it."""
        dropped = 0
        for request in retracted:
            self._ended.pop(request, None)
            request.decode_end = 0
            self._spread = None
            if request in self._prompts:
                del self._prompts[request]
                continue
            joined_ns, since_ns = request.last_token_ns, self.now_ns
            if self._sequences:
                dropped, since_ns = dropped + 1, self._last_step_ns()
            request.last_token_ns = since_ns
            if self._pauses and (self._steps == 1 or not self._sequences):
                request.last_token_ns = self._pauses.leave(joined_ns, since_ns)
        return dropped

    def _log_run(self, dropped: int, used: int, spread: int) -> None:
        """Note the run; tokens that nobody reads are those of its last step."""
        if self._sequences and self._pauses:
            self._end_pauses(self._pauses)
        steps, start_ns, context = self._steps, self._start_ns, self._context
        if dropped and steps > 1:
            begun_ns = self._last_step_ns()
            self._log_row(start_ns, begun_ns, steps - 1, context, 0, used, spread)
            steps, start_ns, context = 1, begun_ns, context + steps - 1
        unheard = self._unheard + dropped
        self._log_row(start_ns, self._end_ns, steps, context, unheard, used, spread)

    def _log_row(
        self,
        start_ns: int,
        end_ns: int,
        steps: int,
        context: int,
        unheard: int,
        used: int,
        spread: int,
    ) -> None:
        self.log.append(
            start_ns,
            end_ns - start_ns,
            steps,
            self._sequences - unheard,
            context,
            spread,
            self._chunk_tokens + unheard,
            used,
        )
        self._rows += 1

    def _begin(self, chunks: list[Chunk], retracted: list[Request]) -> None:
        """Plan the step just decided, and read the tokens of the one before.

        Who has ended is computed once more if all decode, and leaves before if only prompts are.
        """
        is_alone = bool(retracted or self._ended or self._unseen)
        self._start_ns, self._unheard = self.now_ns, 0
        if self._overlapping.is_decoding:
            self._unheard = sum(map(self._overlapping.lingers, self._ended))
            self._plan_step(chunks, is_alone=is_alone)
            self._read()
        else:
            self._read()
            if chunks:
                self._plan_step(chunks, is_alone=is_alone)

    def _read(self) -> None:
        """Read the tokens of the step that has ended now."""
        scheduler = self._overlapping
        for request in self._concerned:
            if request in self._prompts:
                self._read_first(request)
            if request in self._ended:
                scheduler.finish(request, decoding=True)
                self.unfinished -= 1
                self.recorder.record(request, self.now_ns, self._rows - 1)
                self.finished.append(request)
        self._prompts.clear()
        self._ended.clear()
        self._concerned.clear()
        scheduler.has_read()

    def _read_first(self, request: Request) -> None:
        """Read the token after a prompt."""
        if request.first_token_ns is None:
            request.first_token_ns = self.now_ns
            request.first_run = self._rows
        else:
            self.log.stall_ns.append(self.now_ns - request.last_token_ns)
        request.last_token_ns = self.now_ns
        if request not in self._ended:
            self._overlapping.read_prompt(request)
