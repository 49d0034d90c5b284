"""One pass of SGLang's scheduler for many decode steps, with what one pass a step would decide.

SGLang decodes all its running requests as one batch. As long as nobody comes, nobody ends, nobody
waits whom it could admit and the pool has room, each pass makes that batch one token longer and
decides nothing. What such a pass does to the pool and to the new-token ratio is done by SGLang's
own methods, step by step; all else of it (looking for requests, the queue, tensors of the forward
pass, output of each token) is left out, and the requests are told their tokens at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servecast.timewarp.sglang_seam import srt
from servecast.timewarp.sglang_worker import Launcher

_COUNTED: dict[str, tuple[object, ...]] = {
    "enable_prefill_delayer": (False,),
    "prefill_decode_interval": (None, 0),
}
"""Options with other values than these count passes, also those that decide nothing."""


def counts_passes(arguments: object) -> bool:
    """Whether a server with these arguments decides by how many passes there were."""
    return any(getattr(arguments, name) not in neutral for name, neutral in _COUNTED.items())


class LeapingScheduler:
    """Lets a pass that decodes stand for those behind it that could decide nothing.

    SGLang's own `Scheduler` does all else.
    """

    launcher: Launcher
    chunked_req: object | None
    enable_overlap: bool
    forward_ct: int
    new_token_ratio_tracker: Any
    result_queue: Sequence[tuple[Any, Any]]
    waiting_queue: Sequence[object]

    def run_batch(self, batch: Any, *given: object, **named: object) -> Any:
        """Launch a batch and the steps behind it; the result holds the tokens of the last one."""
        theirs: Any = super()
        result = theirs.run_batch(batch, *given, **named)
        heard = self._heard_next(batch, result)
        if heard is not None:
            said = self.launcher.leap(lambda: self._prepare(batch))
            if said:
                _tell(batch.reqs, said, heard, result)
        return result

    def _heard_next(self, batch: Any, result: Any) -> Any | None:
        """The result that is read in this pass: with overlap, that of the step before.

        None where a pass behind this one could admit somebody, or knows of other requests.
        """
        could_admit = bool(self.waiting_queue) and not batch.batch_is_full
        if not batch.forward_mode.is_decode() or could_admit or self.chunked_req is not None:
            return None
        if not self.enable_overlap:
            return result
        if not self.result_queue:
            return None
        before, heard = self.result_queue[-1]
        if not before.forward_mode.is_decode() or before.reqs != batch.reqs:
            return None
        return heard

    def _prepare(self, batch: Any) -> bool:
        """What a pass does where it decides nothing; False where it would take requests back."""
        if not batch.check_decode_mem():
            return False
        self.new_token_ratio_tracker.decay_step()
        batch.prepare_for_decode()
        self.forward_ct += 1
        return True


def _tell(reqs: Sequence[Any], said: Sequence[list[int]], heard: Any, result: Any) -> None:
    """Give requests what they said, but for what is in a result that SGLang has still to read.

    `result` was that of the first step, and becomes that of the last; `heard`, where it is another
    one, becomes that of the step before the last.
    """
    unread = [heard, result] if heard is not result else [result]
    columns = [each.next_token_ids.tolist() for each in unread]
    rows = [[*first, *more] for *first, more in zip(*columns, said, strict=True)]
    for req, row in zip(reqs, rows, strict=True):
        req.output_ids.extend(row[: -len(unread)])
    tensor = srt("managers.scheduler").torch.tensor
    for place, each in enumerate(unread, -len(unread)):
        each.next_token_ids = tensor([row[place] for row in rows])
