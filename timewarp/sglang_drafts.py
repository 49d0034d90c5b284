"""SGLang's speculative worker on a virtual device: drafts cost time, and are accepted as drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from servecast.timewarp.oracle import FILLER
from servecast.timewarp.sglang_seam import srt
from servecast.timewarp.sglang_worker import Launcher


class NoDrafts:
    """What a worker hands from one step to the next: of drafts that are only counted, nothing.

    SGLang's loop with overlap keeps in it whose lengths are to be looked up.
    """

    dsa_topk_indices = None
    future_dsa_topk_indices_available = False

    def __init__(self) -> None:
        self.future_indices: Any = None

    def filter_batch(self, new_indices: Any, new_indices_cpu: object = None) -> None:
        """Keep those of a batch that stay in it."""
        if self.future_indices is not None:
            self.future_indices = self.future_indices[new_indices]

    def merge_batch(self, other: NoDrafts) -> None:
        """Take in those of another batch."""
        if self.future_indices is not None:
            cat = srt("managers.scheduler").torch.cat
            self.future_indices = cat([self.future_indices, other.future_indices])


class VirtualDraftWorker:
    """Drafts and verifies nothing. SGLang's own `BaseSpecWorker` supplies the rest."""

    launcher: Launcher

    def __init__(self, *, target_worker: Any, **_: object) -> None:
        super().__init__()
        self._target_worker = target_worker
        self._draft_worker = None

    def forward_batch_generation(
        self, batch: Any, on_publish: Callable[[Any], None] | None = None, **_: object
    ) -> Any:
        """Start a batch: prompts, or a token and its drafts of each request that decodes."""
        if batch.forward_mode.is_extend():
            result = self._target_worker.forward_batch_generation(batch)
            result.new_seq_lens = batch.seq_lens
        else:
            result = self._verified(batch)
        result.next_draft_input = NoDrafts()
        if on_publish is not None:
            on_publish(result.new_seq_lens)
        return result

    def _verified(self, batch: Any) -> Any:
        """What a verifying step says: rows of equal width, of which so much of each is accepted.

        Nothing is accepted behind the last token of a text.
        """
        tensor, width = srt("managers.scheduler").torch.tensor, self.launcher.width
        step = self.launcher.launch(batch)
        rows = [[*tokens, *[FILLER] * (width - len(tokens))] for tokens in step.tokens]
        lengths = tensor([len(tokens) for tokens in step.tokens])
        return srt("managers.utils").GenerationBatchResult(
            next_token_ids=tensor([token for row in rows for token in row]),
            accept_lens=lengths,
            new_seq_lens=batch.seq_lens + lengths,
            speculative_num_draft_tokens=width,
        )


class DraftingScheduler:
    """Hands no drafts over from step to step. SGLang's own `Scheduler` does all else."""

    def _relay_forward_payload(self, *_: object) -> None:
        """There are none."""


def draft_places(launcher: Launcher) -> list[tuple[object, str, object]]:
    """What of SGLang is replaced where it drafts: the worker, and kernels that copy indices."""
    base = srt("speculative.base_spec_worker").BaseSpecWorker
    worker = type("VirtualSpecWorker", (VirtualDraftWorker, base), {"launcher": launcher})
    algorithm = srt("speculative.spec_info").SpeculativeAlgorithm

    def create_worker(*_: object) -> type[Any]:
        """Whatever the algorithm."""
        return worker

    return [
        (algorithm, "create_worker", create_worker),
        (srt("managers.overlap_utils").FutureMap, "_resolve_spec_extras", _nothing),
        (srt("mem_cache.allocation"), "assign_req_to_token_pool_func", _assign),
    ]


def _nothing(*_: object) -> None:
    """In place of what would look up drafts."""


def _assign(rows: Any, table: Any, starts: Any, ends: Any, slots: Any, count: int) -> None:
    """Write the slots just allocated into the requests' rows of the table, one after the other."""
    done = 0
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        table[row, start:end] = slots[done : done + end - start].to(table.dtype)
        done += end - start
