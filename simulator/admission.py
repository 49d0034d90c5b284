"""What an engine's front end does to a workload before its scheduler sees it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.simulator.request import Request
from servecast.traces.prefixes import Prefixes, cut
from servecast.traces.workload import Workload


class Admission:
    """Rejects prompts and cuts outputs, and hands the rest on as requests.

    vLLM refuses a prompt that leaves no room for one token, and ends a request at its `max_tokens`
    or at the model length, whichever comes first.
    """

    def __init__(
        self, workload: Workload, max_model_len: int, prefixes: Prefixes | None = None
    ) -> None:
        """`prefixes` are in KV blocks of the engine; None where it has no prefix cache."""
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
        self._accepted = np.flatnonzero(accepted)
        self.rejected: NDArray[np.int64] = np.flatnonzero(~accepted)
        allowed = np.minimum(workload.max_tokens, room)
        self._output = np.minimum(workload.output_tokens, allowed)
        cut = accepted & (self._output < workload.output_tokens)
        self.truncated = int(cut.sum())

    def requests(self) -> Iterator[Request]:
        """The accepted requests, made one by one as they are asked for."""
        workload, rows = self._workload, self._accepted
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            columns = (
                part,
                workload.arrival_ns[part],
                workload.prompt_tokens[part],
                self._output[part],
                workload.max_tokens[part],
            )
            rows_of_numbers = zip(*(column.tolist() for column in columns), strict=True)
            for index, arrival_ns, prompt, output, limit in rows_of_numbers:
                known = self._known(index, prompt)
                yield Request(index, arrival_ns, prompt, output, limit, known)

    def _known(self, index: int, prompt_tokens: int) -> list[tuple[int, int]]:
        """The extents of a request's chain: its prompt's whole blocks, or all that are named."""
        if self._prefixes is None:
            return []
        extents = self._prefixes.extents(index)
        if self._prefixes.names_outputs:
            return extents
        return cut(extents, prompt_tokens // self._prefixes.block_tokens)
