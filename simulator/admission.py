"""What an engine's front end does to a workload before its scheduler sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.simulator.request import Request
from servecast.traces.prefixes import Prefixes
from servecast.traces.workload import Workload


class Admission:
    """Rejects prompts and cuts outputs, and hands the rest on as requests.

    vLLM refuses a prompt that leaves no room for one token, and ends a request at its `max_tokens`
    or at the model length, whichever comes first.
    """

    def __init__(
        self,
        workload: Workload,
        max_model_len: int,
        prefixes: Prefixes | None = None,
        room: NDArray[np.int64] | None = None,
    ) -> None:
        """`prefixes` are in KV blocks of the engine; None where it has no prefix cache.

        `room` is what each prompt leaves, where that is less than the model length would.
        """
        if room is None:
            room = max_model_len - workload.prompt_tokens
        accepted = room >= 1
        if len(workload) and not accepted.any():
            raise InputError(
                f"every prompt of workload `{workload.name}` exceeds max_model_len {max_model_len} "
                f"(the shortest has {int(workload.prompt_tokens.min())} tokens)",
                hint="raise deployment.max_model_len, or serve a model with a longer context",
            )
        self._workload = workload
        self._prefixes = prefixes
        self._sessions = None if workload.sessions is None else workload.sessions.numbers()
        self._is_accepted = accepted
        self.rejected: NDArray[np.int64] = np.flatnonzero(~accepted)
        allowed = np.minimum(workload.max_tokens, room)
        self._output = np.minimum(workload.output_tokens, allowed)
        cut = accepted & (self._output < workload.output_tokens)
        self.truncated = int(cut.sum())

    def requests(self) -> Iterator[Request]:
        """The accepted requests, made one by one as they are asked for."""
        rows = np.flatnonzero(self._is_accepted)
        for start in range(0, len(rows), 4096):
            yield from self._made(rows[start : start + 4096])

    def request(self, row: int) -> Request | None:
        """The request of one row of the workload; None where it is rejected."""
        return next(self._made(np.array([row]))) if self._is_accepted[row] else None

    def _made(self, part: NDArray[np.int64]) -> Iterator[Request]:
        workload = self._workload
        columns = (
            part,
            workload.arrival_ns[part],
            workload.prompt_tokens[part],
            self._output[part],
            workload.max_tokens[part],
        )
        rows_of_numbers = zip(
            *(column.tolist() for column in columns), self._known(part), strict=True
        )
        for index, arrival_ns, prompt, output, limit, known in rows_of_numbers:
            request = Request(index, arrival_ns, prompt, output, limit, known)
            if workload.priorities is not None:
                request.priority = int(workload.priorities[index])
            if self._sessions is not None:
                request.session = int(self._sessions[index])
            yield request

    def _known(self, part: NDArray[np.int64]) -> Iterable[list[tuple[int, int]]]:
        """The extents of each one's chain: its prompt's whole blocks, or all that are named."""
        if self._prefixes is None:
            return repeat([], len(part))
        prefixes = self._prefixes.take(part)
        if not prefixes.names_outputs:
            prompts = self._workload.prompt_tokens[part]
            prefixes = prefixes.up_to(prompts // prefixes.block_tokens)
        return prefixes.all_extents()
